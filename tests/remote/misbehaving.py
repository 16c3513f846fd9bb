"""A real HTTP server that does what its test says, and counts what is still connected to it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import trustme

AUTHORITY = trustme.CA()
"""Signs the certificates of encrypted servers; nobody trusts it who is not told to."""

REASONS = {200: "OK", 202: "Accepted", 303: "See Other", 307: "Temporary Redirect"}


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        return self.headers.get("authorization")


class Wire:
    """One connection, for the side of the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def head(
        self, status: int = 200, length: int | None = None, **headers: str | int
    ) -> None:
        """Send a status and headers; ``_`` in their names becomes ``-``."""
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}"]
        if length is not None:
            headers["content_length"] = length
        else:
            headers["connection"] = "close"
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, body: Any = b"", status: int = 200, **headers: str | int) -> None:
        """Send a whole answer: bytes as they are, anything else as JSON."""
        if not isinstance(body, bytes):
            headers.setdefault("content_type", "application/json")
            body = json.dumps(body).encode()
        await self.head(status, len(body), **headers)
        await self.raw(body)

    async def events(self, *events: Any) -> None:
        """Send server-sent events, without an end of the stream."""
        for event in events:
            data = event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n"
            await self.raw(data.encode())

    def reset(self) -> None:
        """Drop the connection without a word."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()

    async def until_left(self) -> None:
        """Wait until the other side has gone."""
        try:
            while await self._reader.read(4096):
                pass
        except ConnectionError:
            pass

    async def request(self) -> Request | None:
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = (line.partition(":") for line in head[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in fields}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        method, path, _ = head[0].split(" ", 2)
        return Request(method, path, headers, body)


Behaviour = Callable[[Wire, Request], Awaitable[None]]


class Server:
    """Where it listens, what it was asked, and who is connected."""

    def __init__(self, *behaviours: Behaviour, scheme: str) -> None:
        self._behaviours = list(behaviours)
        self._scheme = scheme
        self.asked: list[Request] = []
        self.arrived = asyncio.Event()
        self.connected = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/v1"

    async def until_all_left(self) -> None:
        """Wait until nobody is connected any more."""
        await self.until_left_are(0)

    async def until_left_are(self, number: int) -> None:
        """Wait until no more are connected than that."""
        while self.connected > number:
            self._changed.clear()
            await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.connected += 1
        wire = Wire(reader, writer)
        try:
            while (request := await wire.request()) is not None:
                behaviour = self._behaviours[min(len(self.asked), len(self._behaviours) - 1)]
                self.asked.append(request)
                self.arrived.set()
                await behaviour(wire, request)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.connected -= 1
            self._changed.set()
            writer.close()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def serving(*behaviours: Behaviour, encrypted: bool = False):
    """Serve each request with the next behaviour; the last one serves all that follow."""
    server = Server(*behaviours, scheme="https" if encrypted else "http")
    context = None
    if encrypted:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=1 << 20, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.stop()
        await asyncio.gather(*server._tasks, return_exceptions=True)
        await listening.wait_closed()


@contextmanager
def serving_apart(*behaviours: Behaviour):
    """Serve from a thread, for a test that has several loops, or none."""
    begun = threading.Event()
    held: dict[str, Any] = {}

    async def serve() -> None:
        async with serving(*behaviours) as server:
            held.update(server=server, loop=asyncio.get_running_loop(), end=asyncio.Event())
            begun.set()
            await held["end"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    begun.wait()
    try:
        yield held["server"]
    finally:
        held["loop"].call_soon_threadsafe(held["end"].set)
        thread.join()


def answering(body: Any = b"", status: int = 200, **headers: str | int) -> Behaviour:
    """Answer so, and keep the connection."""

    async def behave(wire: Wire, request: Request) -> None:
        await wire.answer(body, status, **headers)

    return behave
