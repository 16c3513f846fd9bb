"""Models as tools of the Model Context Protocol: `tool_server`, `serve_stdio`, and `app` for HTTP.

It runs on the protocol's official SDK: ``pip install 'blazen[mcp]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazen.mcp.http import app
    from blazen.mcp.server import tool_server
    from blazen.mcp.stdio import serve_stdio

__all__ = ["app", "serve_stdio", "tool_server"]

_PLACES = {"app": "http", "serve_stdio": "stdio", "tool_server": "server"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from blazen.extras import need

    need("mcp.server.lowlevel", extra="mcp", what="serving tools of the Model Context Protocol")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
