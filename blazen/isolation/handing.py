"""The pieces of an answer, on their way out of a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from blazen.bridge import StreamReader
from blazen.isolation.orders import WINDOW
from blazen.types.stream import Source

_MOST_AT_ONCE = 256


class Handing(Protocol):
    """A source that hands its pieces on, instead of being read."""

    async def hand_on(self, hear: Callable[[Any], object]) -> None:
        """Give every piece to a function, and wait for the end."""

    def hold(self) -> None:
        """Give no more until `go_on`."""

    def go_on(self) -> None:
        """Give more."""

    def gather(self) -> None:
        """Hear that the whole is wanted."""

    async def aclose(self) -> None:
        """Stop, and wait until it has."""


def handing(source: Source[Any]) -> Handing:
    """Give a source that hands on: an engine's own does it at once, on the engine's thread."""
    return source if isinstance(source, StreamReader) else _Pulled(source)


class _Pulled:
    """Hands on what another source gives to who reads it."""

    def __init__(self, source: Source[Any]) -> None:
        self._source = source
        self._open = asyncio.Event()
        self._open.set()

    async def hand_on(self, hear: Callable[[Any], object]) -> None:
        while True:
            try:
                piece = await self._source.__anext__()
            except StopAsyncIteration:
                return
            hear(piece)
            await self._open.wait()

    def hold(self) -> None:
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def gather(self) -> None:
        self._source.gather()

    async def aclose(self) -> None:
        await self._source.aclose()


class Pieces:
    """One answer that goes out in pieces."""

    def __init__(self, say: Callable[[list[Any]], None], stop: Callable[[], object]) -> None:
        """Prepare: ``say`` sends pieces; ``stop`` is called when that fails, on any thread."""
        self._say = say
        self._stop = stop
        self._waiting: list[Any] = []
        self._gathers = False
        self._heard = 0
        self._allowed = WINDOW
        self._source: Handing | None = None
        self.error: Exception | None = None
        """Why a piece could not cross."""

    async def send(self, source: Source[Any]) -> None:
        """Send all that a source gives."""
        given = self._source = handing(source)
        if self._gathers:
            given.gather()
        try:
            await given.hand_on(self._hear)
        finally:
            await given.aclose()

    def flush(self) -> None:
        """Send what is left: its end is told next."""
        if self._waiting and self.error is None:
            waiting, self._waiting = self._waiting, []
            self._say(waiting)

    def gather(self) -> None:
        """Hear that the whole is wanted: then fewer messages do."""
        self._gathers = True
        if self._source is not None:
            self._source.go_on()
            self._source.gather()

    def allow(self, count: int) -> None:
        """Let so many more pieces be sent before the reader has asked for more again."""
        self._allowed += count
        if self._source is not None:
            self._source.go_on()

    def _hear(self, piece: Any) -> None:
        self._waiting.append(piece)
        self._heard += 1
        if self._heard >= self._allowed and not self._gathers and self._source is not None:
            self._source.hold()
            # More may have been allowed, or the whole asked for, in between, on another thread.
            if self._heard < self._allowed or self._gathers:
                self._source.go_on()
        if self._gathers and len(self._waiting) < _MOST_AT_ONCE:
            return
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - who asked for it hears of it at the end
            self.error = error
            self._stop()
