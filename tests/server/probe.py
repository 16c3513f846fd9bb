"""Routes that show what the guard lets through, and a client that speaks to a socket itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from blazen.errors import InferenceError
from blazen.server.failures import Shape
from blazen.server.streaming import Event, ndjson, sse
from blazen.server.work import while_connected


class Probe:
    """Routes below ``/v1/probe``, and what happened in them."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.release = threading.Event()
        self.router = APIRouter()
        add = self.router.add_api_route
        add("/v1/probe/echo", self.echo, methods=["POST"])
        add("/v1/probe/size", self.size, methods=["POST"])
        add("/v1/probe/hold", self.hold, methods=["POST"])
        add("/v1/probe/stream", self.stream, methods=["POST"])
        add("/v1/probe/lines", self.lines, methods=["POST"])
        add("/v1/probe/endless", self.endless, methods=["GET"])
        add("/v1/probe/large", self.large, methods=["GET"])
        add("/v1/probe/work", self.work, methods=["POST"])
        add("/v1/probe/broken", self.broken, methods=["GET"])
        add("/v1/probe/quiet", self.quiet, methods=["GET"])
        add("/api/probe/broken", self.broken, methods=["GET"])

    def reset(self) -> None:
        for event in (self.begun, self.ended, self.release):
            event.clear()

    async def echo(self, request: Request) -> Any:
        return await request.json()

    async def size(self, request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    async def hold(self, request: Request) -> dict[str, bool]:
        await request.body()
        self.begun.set()
        await self._released()
        return {"done": True}

    async def _released(self) -> None:
        while not self.release.is_set():
            await asyncio.sleep(0.01)

    async def stream(self, request: Request) -> Response:
        body = await request.json()

        async def events() -> AsyncIterator[Any]:
            try:
                self.begun.set()
                for number in range(body["count"]):
                    if number == body.get("fail_at"):
                        raise InferenceError("the engine stumbled")
                    if number == body.get("break_at"):
                        raise RuntimeError("a secret of the code")
                    yield {"n": number, "text": "ü\ud83d" if body.get("odd") else "ü"}
                    await asyncio.sleep(body.get("pause", 0))
                yield Event("last", "two\nlines")
            finally:
                self.ended.set()

        return sse(request, events(), Shape.OpenAi, done=True)

    async def lines(self, request: Request) -> Response:
        body = await request.json()

        async def lines() -> AsyncIterator[dict[str, int]]:
            for number in range(body["count"]):
                if number == body.get("fail_at"):
                    raise InferenceError("the engine stumbled")
                yield {"n": number}

        return ndjson(request, lines(), Shape.Ollama)

    async def endless(self, request: Request) -> Response:
        async def events() -> AsyncIterator[Any]:
            try:
                yield {"first": True}
                self.begun.set()
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        return sse(request, events(), Shape.Native, endless=True)

    async def quiet(self, request: Request) -> Response:
        async def events() -> AsyncIterator[Any]:
            await self._released()
            yield {"late": True}

        return sse(request, events(), Shape.Native)

    async def large(self, request: Request) -> Response:
        async def events() -> AsyncIterator[Any]:
            try:
                while True:
                    self.begun.set()
                    yield "x" * 65536
            finally:
                self.ended.set()

        return sse(request, events(), Shape.Native)

    async def work(self, request: Request) -> dict[str, bool]:
        await request.body()

        async def long() -> None:
            try:
                self.begun.set()
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        await while_connected(request, long())
        return {"done": True}

    async def broken(self) -> None:
        raise RuntimeError("a secret of the code")


@contextlib.contextmanager
def connected(port: int, *, context: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
    """A connection that the test writes to by itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        if context is None:
            yield plain
            return
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            yield secured


def read_all(connection: socket.socket) -> bytes:
    """What the server sends until it ends the connection."""
    out = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            out += piece
    return out


def is_gone(connection: socket.socket) -> bool:
    """Read until the server has ended the connection, however it did."""
    read_all(connection)
    return True


def until(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait for a condition, and give what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to this"
        time.sleep(0.01)
    return found
