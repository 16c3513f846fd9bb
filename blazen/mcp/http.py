"""The protocol over HTTP: an ASGI app to mount, and a small server that runs it alone."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Route

from blazen.catalog import OpenCatalog
from blazen.errors import ValidationError
from blazen.mcp.ending import ended_by
from blazen.mcp.server import GONE, tool_server

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

LOCAL = ("localhost", "127.0.0.1", "[::1]")
"""The names that a program on this machine calls it by."""
MAX_BODY = 32 * 2**20
MAX_SESSIONS = 256
SESSION_IDLE = 600.0
"""Seconds without a request after which a session ends: many clients never say that they go."""
MAX_CONNECTIONS = 256
GRACE = 2
"""Seconds that open connections have to end in, when the server is told to."""
PATH = "/mcp"


class App:
    """An ASGI app that speaks the protocol on whatever path it is put at.

    It serves while `running` is entered. Run alone, it does that itself at its lifespan. Mounted,
    its lifespan is never asked for: the app around it enters `running` in its own::

        tools = app(lambda: models, hosts=None)

        @asynccontextmanager
        async def lifespan(around):
            async with catalog.start() as models, tools.running():
                yield

        around.router.routes.append(Route("/mcp", endpoint=tools))

    A `Route` takes the path as it is, where a ``Mount`` would send clients on to ``/mcp/``.
    """

    def __init__(
        self,
        open: Callable[[], OpenCatalog],  # noqa: A002 - the catalogue's own word
        hosts: Sequence[str] | None,
        key: str | None,
        max_body: int,
    ) -> None:
        self._open = open
        self._security = None if hosts is None else _security(hosts)
        self._key = None if key is None else key.encode()
        self._max_body = max_body
        self._sessions: StreamableHTTPSessionManager | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within this block; at its end every call that still runs is cancelled."""
        sessions = StreamableHTTPSessionManager(
            tool_server(self._open),
            security_settings=self._security,
            max_request_body_size=self._max_body,
            max_sessions=MAX_SESSIONS,
            session_idle_timeout=SESSION_IDLE,
        )
        async with sessions.run():
            self._sessions = sessions
            try:
                yield
            finally:
                self._sessions = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the lifespan of a server that runs this alone."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if not self._may(Headers(scope=scope)):
            answer = JSONResponse(
                {"error": "the key is missing or wrong: send 'Authorization: Bearer KEY'"},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await answer(scope, receive, send)
            return
        if self._sessions is None:
            raise RuntimeError("the app serves while its running() is entered: see App")
        gone = asyncio.Event()

        async def receive_and_see() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                gone.set()
            return message

        await self._sessions.handle_request({**scope, GONE: gone}, receive_and_see, send)

    def _may(self, headers: Headers) -> bool:
        if self._key is None:
            return True
        scheme, _, key = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(key.strip().encode("latin-1"), self._key)
        return right and scheme.lower() == "bearer"

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def app(
    open: Callable[[], OpenCatalog],  # noqa: A002 - the catalogue's own word
    *,
    hosts: Sequence[str] | None = LOCAL,
    key: str | None = None,
    max_body: int = MAX_BODY,
) -> App:
    """Give the tools as an ASGI app: see `App` for how it is run or mounted.

    Args:
        open: Gives the open catalogue, whenever a tool is called.
        hosts: The names of this server, as clients write them in ``Host``; a request to another,
            or from a page of another, is refused. ``None`` where the app around it checks that.
        key: What a client must send as ``Authorization: Bearer KEY``.
        max_body: How many bytes a request may have.
    """
    return App(open, hosts, key, max_body)


async def serve_http(
    models: contextlib.AbstractAsyncContextManager[OpenCatalog],
    host: str,
    port: int,
    *,
    hosts: Sequence[str] = (),
    key: str | None = None,
    on_ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve the models of a catalogue over HTTP, until Ctrl-C or SIGTERM; then unload them all.

    Args:
        models: Gives them: ``Catalog.read().start()``.
        host: The address to listen at.
        port: The port; 0 takes one that is free.
        hosts: Further names that clients may call this server by.
        key: What clients must send.
        on_ready: Is told the URL once it can be called.
    """
    with _listening(host, port) as listener, ended_by(signal.SIGTERM):
        names = (*LOCAL, _written(host), *hosts)
        async with models as catalog:
            tools = app(lambda: catalog, hosts=names, key=key)
            async with tools.running():
                place = f"http://{_written(host)}:{listener.getsockname()[1]}{PATH}"
                await _serve(tools, listener, lambda: on_ready(place))


def is_loopback(host: str) -> bool:
    """Tell whether only programs on this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _serve(tools: App, listener: socket.socket, ready: Callable[[], object]) -> None:
    alone = Starlette(routes=[Route(PATH, endpoint=tools)])
    config = uvicorn.Config(
        alone,
        lifespan="off",
        log_level="warning",
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    runner = _Runner(config, ready)
    serving = asyncio.ensure_future(runner.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        runner.should_exit = True
        await asyncio.wait([serving])


class _Runner(uvicorn.Server):
    """A uvicorn that leaves signals to us: its own way ends the program before models unload."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ValidationError(f"can't listen at {_written(host)}:{port}: {error}") from error
    with listener:
        yield listener


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _security(hosts: Sequence[str]) -> TransportSecuritySettings:
    names = [form for host in dict.fromkeys(hosts) for form in (host, f"{host}:*")]
    origins = [f"{scheme}://{name}" for name in names for scheme in ("http", "https")]
    return TransportSecuritySettings(allowed_hosts=names, allowed_origins=origins)
