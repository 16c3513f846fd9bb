"""A tool: its name, what it takes and gives, and how it is called."""

from __future__ import annotations

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio
import pydantic
from mcp import types

from blazen.errors import BlazenError
from blazen.mcp.asking import Arguments
from blazen.mcp.call import Call

A = TypeVar("A", bound=Arguments)

log = logging.getLogger("blazen.mcp")


@dataclass(frozen=True)
class Answer:
    """What a tool gives: parts for people and language models to read, and the same as values."""

    content: list[types.ContentBlock]
    values: pydantic.BaseModel


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[A]):
    """One tool."""

    name: str
    title: str
    description: str
    takes: type[A]
    gives: type[pydantic.BaseModel]
    work: Callable[[Call, A], Awaitable[Answer]]

    def told(self) -> types.Tool:
        """Give what a client is told of it."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.takes.model_json_schema(),
            output_schema=self.gives.model_json_schema(mode="serialization"),
            annotations=types.ToolAnnotations(
                title=self.title,
                read_only_hint=True,
                destructive_hint=False,
                open_world_hint=False,
            ),
        )

    async def call(self, call: Call, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Do the work; whatever goes wrong becomes a result that says so."""
        try:
            asked = self.takes.model_validate(dict(arguments))
        except pydantic.ValidationError as error:
            return failed(f"{self.name}: {_problems(error)}")
        try:
            answer = await _in_one_piece(self.work(call, asked), call.gone)
        except BlazenError as error:
            log.info("%s failed: %s", self.name, error)
            return failed(str(error))
        except asyncio.CancelledError:
            log.info("%s was cancelled after %d pieces", self.name, call.done)
            raise
        except Exception:
            log.exception("%s failed by a mistake in blazen", self.name)
            return failed(f"{self.name} failed inside blazen; its log says more")
        if answer is None:
            log.info("%s ended with its client, after %d pieces", self.name, call.done)
            return failed("the client has gone")
        return types.CallToolResult(
            content=answer.content, structured_content=answer.values.model_dump(mode="json")
        )


def failed(message: str) -> types.CallToolResult:
    """Give the result of a call that did not work out."""
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=message)], is_error=True
    )


async def _in_one_piece(work: Awaitable[Answer], gone: asyncio.Event | None) -> Answer | None:
    """Await work in a task of its own, which is cancelled once and then waited for.

    The SDK's scopes cancel each await anew until they are left: an engine could not be stopped and
    given back in order. ``None`` says that the client went before the end.
    """
    task = asyncio.ensure_future(work)
    left = None if gone is None else asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait([task] if left is None else [task, left], return_when=FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        if left is not None:
            left.cancel()
        if not task.done():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # seen: nobody else asks


def _problems(error: pydantic.ValidationError) -> str:
    """Word what is wrong with the arguments, without the values: these may be long."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors()
    )
