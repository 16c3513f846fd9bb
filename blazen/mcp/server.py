"""The server of the protocol: which tools there are, and the way of a call to its tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from blazen.catalog import OpenCatalog
from blazen.mcp.call import Call
from blazen.mcp.listing import MODELS
from blazen.mcp.sounds import SPEAK, TRANSCRIBE, TRANSCRIBE_FILES
from blazen.mcp.texts import CHAT, EMBED, GENERATE
from blazen.mcp.tool import Tool, failed

GONE = "blazen.gone"
"""Where a request over HTTP holds the event that says that its client has gone."""

INSTRUCTIONS = (
    "Models of the user's own machine. Call `models` to see "
    "which there are. The first call of a model loads it, which takes a while."
)


def tool_server(
    open: Callable[[], OpenCatalog],  # noqa: A002 - the catalogue's own word
    *,
    folders: Sequence[Path] = (),
) -> Server[Any]:
    """Give the server, to be run on any transport.

    Args:
        open: Gives the open catalogue, whenever a tool is called.
        folders: Where `transcribe` may read files; only for a client that is the user's own.
    """
    places = tuple(folders)
    offered: tuple[Tool[Any], ...] = (
        GENERATE,
        CHAT,
        EMBED,
        TRANSCRIBE_FILES if places else TRANSCRIBE,
        SPEAK,
        MODELS,
    )
    tools = {tool.name: tool for tool in offered}
    told = [tool.told() for tool in offered]

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=told)

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            return failed(f"there is no tool {params.name!r:.80}; there are: {', '.join(tools)}")

        async def tell(progress: float, total: float | None, message: str) -> None:
            await context.session.report_progress(progress, total, message)

        gone = getattr(context.request, "scope", {}).get(GONE)
        return await tool.call(Call(open(), tell, places, gone), params.arguments or {})

    return Server(
        "blazen",
        title="Models on this machine",
        version=version("blazen"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
