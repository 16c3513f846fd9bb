"""Running the server: it listens, answers, and stops in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn
from fastapi import FastAPI

from blazen.catalog import Catalog
from blazen.errors import ValidationError
from blazen.server.app import create_app
from blazen.server.guard.door import Door
from blazen.server.settings import ServerSettings

_BACKLOG = 512
_SPARE_FILES = 512
_LAST_SECONDS = 5.0
_STOPPED_AT_ONCE = 130


def run(
    catalog: Catalog,
    settings: ServerSettings | None = None,
    *,
    on_listening: Callable[[Server], None] | None = None,
) -> int:
    """Serve a catalogue's models until Ctrl-C or SIGTERM; give the exit code."""
    settings = within_files(settings or ServerSettings())
    # What strangers send is no news; what fails in the server is.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = Server(create_app(catalog, settings), settings)
    server.on_listening = on_listening
    server.run()
    return 0


class Server(uvicorn.Server):
    """uvicorn with a door of our own, and a port that is taken before any model is looked at."""

    def __init__(self, app: FastAPI, settings: ServerSettings) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",  # uvloop's start_tls loses a handshake now and then
            http="h11",
            ws="none",
            lifespan="off",  # entered below, so that its errors are the caller's
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.idle_timeout,  # type: ignore[arg-type]  # it takes parts too
            timeout_graceful_shutdown=settings.shutdown_timeout,  # type: ignore[arg-type]
            h11_max_incomplete_event_size=int(settings.max_header_bytes),
        )
        super().__init__(config)
        self.settings = settings
        self.listening = threading.Event()
        """Set once it listens, or has failed to."""
        self.on_listening: Callable[[Server], None] | None = None
        self._app = app
        self._door = Door(settings, config, self.server_state)
        self._socket = bound(settings)
        self._port: int = self._socket.getsockname()[1]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where it is found on this machine."""
        host = self.settings.host
        near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
        scheme = "http" if self.settings.tls_cert is None else "https"
        return f"{scheme}://{f'[{near}]' if ':' in near else near}:{self.port}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        try:
            super().run(sockets)
        finally:
            self.listening.set()
            self._socket.close()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the models, serve, and unload them."""
        with self.capture_signals():
            async with self._app.router.lifespan_context(self._app):
                if not self.should_exit:
                    await self._serve(sockets)
            self._captured_signals.clear()  # it was asked to stop, and has

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._door.protocol, sock=self._socket, backlog=_BACKLOG)
        self.servers = [server]
        self.started = True
        self._door.open()
        if self.on_listening is not None:
            self.on_listening(self)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers end, and end those that would not."""
        self._app.state.service.stop()
        self._door.stop_handshakes()
        try:
            await super().shutdown(sockets)
            if tasks := tuple(self.server_state.tasks):  # they were cancelled: let them say so
                await asyncio.wait(tasks, timeout=_LAST_SECONDS)
        finally:
            self._door.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in good order; asked a second time, at once."""
        if self.should_exit:
            sys.stderr.write("stopped at once\n")
            sys.stderr.flush()
            os._exit(_STOPPED_AT_ONCE)
        self.should_exit = True


def bound(settings: ServerSettings) -> socket.socket:
    """Take the port, or say why it can't be had and what to do."""
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ValidationError(f"{host!r} is no address of this machine: {error}") from error
    try:
        if os.name == "posix":  # elsewhere it lets two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ValidationError(
            f"the server can't listen on {host}:{port} ({error.strerror or error}): give another "
            "port with --port, or 0 for any that is free"
        ) from error
    return listener


def within_files(settings: ServerSettings) -> ServerSettings:
    """Have the system allow a file for each connection; where it does not, take in fewer.

    With none left the server could neither open a model nor let an idle connection go for a new
    one.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return settings
    wanted = settings.max_connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    most = max(1, allowed - min(_SPARE_FILES, allowed // 2))
    return replace(settings, max_connections=min(settings.max_connections, most))
