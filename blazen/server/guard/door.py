"""The door: how many connections come in, how long a handshake and a head may take."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from blazen.errors import ValidationError
from blazen.server.settings import ServerSettings

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: application/json\r\n"
    b"Content-Length: 56\r\nConnection: close\r\n\r\n"
    b'{"error": "too many connections: try again in a moment"}'
)


class Door:
    """Takes connections in, up to the limits, and shows those out that dawdle.

    Where there are too many, the one that has been idle for longest goes for the new one.
    """

    def __init__(
        self,
        settings: ServerSettings,
        config: uvicorn.Config,
        state: ServerState,
    ) -> None:
        self.settings = settings
        self.handshakes: dict[asyncio.Transport, asyncio.Task[None]] = {}
        """Connections that have not said yet how they are encrypted, the oldest first."""
        self._new: Callable[[], Connection] = lambda: Connection(
            self, config=config, server_state=state, app_state={}
        )
        self._state = state
        self._tls = tls_context(settings)
        self._sweeper: asyncio.TimerHandle | None = None
        self._pause = min(
            1.0, settings.header_timeout / 4, settings.write_timeout / 4, settings.idle_timeout / 4
        )

    def protocol(self) -> asyncio.Protocol:
        """Give what a new connection talks to first."""
        return self._new() if self._tls is None else _Handshake(self)

    def open(self) -> None:
        """Begin to look after the connections."""
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._pause, self._sweep)

    def close(self) -> None:
        """Cut off what is still there."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._state.connections):
            connection.transport.abort()

    def stop_handshakes(self) -> None:
        """Give up the connections that have not got to a request."""
        for transport, task in tuple(self.handshakes.items()):
            task.cancel()
            transport.abort()

    def make_room(self) -> bool:
        """Let the connection go that has been idle for longest, if there are too many."""
        if len(self._state.connections) < self.settings.max_connections:
            return True
        idle = [c for c in self._state.connections if isinstance(c, Connection) and c.is_idle]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.since)
        oldest.transport.abort()
        self._state.connections.discard(oldest)
        return True

    def greet(self, transport: asyncio.Transport, held: _Handshake) -> None:
        """Begin a handshake; where there are too many, the oldest is given up."""
        if len(self.handshakes) >= self.settings.max_handshakes:
            oldest = next(iter(self.handshakes))
            self.handshakes.pop(oldest).cancel()
            oldest.abort()
        task = asyncio.get_running_loop().create_task(self._shake(transport, held))
        self.handshakes[transport] = task

    async def _shake(self, transport: asyncio.Transport, held: _Handshake) -> None:
        assert self._tls is not None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                held,
                self._tls,
                server_side=True,
                ssl_handshake_timeout=self.settings.handshake_timeout,
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            transport.abort()
            return
        finally:
            self.handshakes.pop(transport, None)
        if secured is not None:
            held.pass_on(secured, self._new())

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._state.connections):
            if isinstance(connection, Connection):
                connection.look(now)
        self._sweeper = loop.call_later(self._pause, self._sweep)


class _Handshake(asyncio.Protocol):
    """Stands in while a connection is being encrypted, and keeps what comes with the last of it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._kept: list[bytes] = []
        self._lost = False
        self._met = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._met:
            self._met = True
            plain = cast("asyncio.Transport", transport)
            plain.pause_reading()  # the first word of the handshake is for `start_tls`
            self._door.greet(plain, self)

    def data_received(self, data: bytes) -> None:
        self._kept.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def pass_on(self, transport: asyncio.Transport, connection: Connection) -> None:
        """Hand the encrypted connection to the one who speaks HTTP."""
        if self._lost:
            transport.abort()
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)
        for data in self._kept:
            if not transport.is_closing():
                connection.data_received(data)
        self._kept.clear()


class Connection(H11Protocol):
    """One connection: it ends when its client is too slow with a head, or in reading an answer."""

    def __init__(self, door: Door, **parts: Any) -> None:
        super().__init__(**parts)
        self.access_log = False  # uvicorn's own has queries in it, and they may hold anything
        self._door = door
        self.since = self.loop.time()
        """Since when it has been waiting for a head."""
        self._unread = 0
        self._stuck: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being worked on."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the client in, if there is room."""
        if not self._door.make_room():
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read on; a new head has its own time."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.is_idle and not self.conn.trailing_data[0]:
            self.since = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell what works for the client that it has gone."""
        if self.transport is not None:
            super().connection_lost(exc)
            self._unset_keepalive_if_required()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or too much of it."""
        import sys

        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._refuse(status, "the request's head is too large" if status == 431 else msg)

    def look(self, now: float) -> None:
        """Show the client out if it dawdles."""
        settings = self._door.settings
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread or self._stuck is None:
            self._stuck = now if unread else None
        elif now - self._stuck > settings.write_timeout:
            self.transport.abort()
            return
        self._unread = unread
        if self.transport.is_closing() or not self.is_idle:
            return
        first = self.cycle is None
        if (first or self.conn.trailing_data[0]) and now - self.since > settings.header_timeout:
            self._refuse(408, "the request's head did not arrive in time")

    def _refuse(self, status: int, message: str) -> None:
        words = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
        body = b'{"error": "%s"}' % message.encode("ascii", "replace")
        head = (
            f"HTTP/1.1 {status} {words.get(status, 'Bad Request')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def tls_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """Read the certificate and its key, where they are given."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ValidationError(
            f"no TLS with {str(settings.tls_cert)!r} and {str(settings.tls_key)!r}: {error}; give "
            "a certificate and its key without a password, both as PEM files"
        ) from error
    return context


def _no_password() -> str:
    # Otherwise OpenSSL asks for it at the terminal, where perhaps nobody sits.
    raise ValueError("the key has a password")
