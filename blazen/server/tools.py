"""The models as tools of the Model Context Protocol, at ``/mcp`` of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from blazen.server.settings import ServerSettings

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from blazen.catalog import OpenCatalog
    from blazen.mcp.http import App

PATH = "/mcp"


class Tools:
    """Speaks the protocol while `running` is entered; who only listens is let go at the end."""

    def __init__(self, app: App) -> None:
        self._app = app

    @classmethod
    def of(cls, opened: Callable[[], OpenCatalog], settings: ServerSettings) -> Tools | None:
        """Give the tools; ``None`` where the extra ``mcp`` is not installed."""
        if find_spec("mcp") is None:
            return None
        from blazen.mcp import app

        # The gate before it knows hosts, pages and the key.
        return cls(app(opened, hosts=None, max_body=int(settings.max_body)))

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve within this block."""
        return self._app.running()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        # A client that listens for what the server may say never ends by itself.
        service = scope["app"].state.service
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        listening = asyncio.ensure_future(self._app(scope, receive, noted))
        service.endless.add(listening)
        if service.stopping:
            listening.cancel()
        try:
            await asyncio.wait((listening,))
        finally:
            service.endless.discard(listening)
            listening.cancel()
            await asyncio.wait((listening,))
        if not listening.cancelled():
            listening.result()
        elif begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
