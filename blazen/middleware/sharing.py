"""One call for several equal requests, each of which reads along at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable

from blazen.middleware.sources import Pieces
from blazen.middleware.wrapping import Way
from blazen.types.completion import InferenceChunk, ModelResponse

_TURN = 32
"""So many pieces are taken at most before the readers get their turn."""


class Flight:
    """A call under way, and what has come of it.

    It runs in a task of its own, so that it ends with none of its readers but the last.
    """

    def __init__(
        self,
        call: Callable[[Flight], Awaitable[Pieces | ModelResponse]],
        landed: Callable[[Flight], Awaitable[None]],
        gone: Callable[[Flight], None],
    ) -> None:
        self.pieces: list[InferenceChunk] = []
        self.way = Way()
        self.answer: ModelResponse | None = None
        """The answer, where it came in one piece."""
        self.begun = self.ended = False
        self.error: BaseException | None = None
        self.readers = 0
        self._landed = landed
        self._gone = gone
        self._source: Pieces | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._fly(call))

    async def _fly(self, call: Callable[[Flight], Awaitable[Pieces | ModelResponse]]) -> None:
        try:
            given = await call(self)
            if isinstance(given, ModelResponse):
                self.answer = given
            else:
                await self._read(given)
            await self._landed(self)
        except BaseException as error:  # noqa: BLE001 - its readers raise it
            self.error = error
        finally:
            self.ended = self.begun = True
            self._gone(self)
            self._wake()

    async def _read(self, source: Pieces) -> None:
        self._source = source
        self.begun = True
        self._wake()
        try:
            while True:
                self.pieces.append(await source.__anext__())
                if self._waiting:
                    self._wake()
                if not len(self.pieces) % _TURN:
                    await asyncio.sleep(0)
        except StopAsyncIteration:
            return
        except asyncio.CancelledError:
            await source.aclose()
            raise

    def join(self) -> None:
        """Hear of a reader, who wants each piece when it comes."""
        self.readers += 1

    def gather(self) -> None:
        """Hear that a reader wants the whole: if that is the only one, there is no hurry."""
        if self.readers == 1 and self._source is not None:
            self._source.gather()

    async def news(self) -> None:
        """Wait until something more is known; who is cancelled here has left."""
        woken: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Go; the last one who does ends the call, and waits until it has ended."""
        if self.left():
            await asyncio.wait((self._task,))

    def left(self) -> bool:
        """Hear that a reader has gone; give whether the call ends with it."""
        self.readers -= 1
        if self.readers or self.ended:
            return False
        self._gone(self)  # who comes now makes a call of their own
        self._task.cancel()
        return True

    def left_anywhere(self) -> None:
        """Hear the same on any thread, in a finalizer too."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the call with it
            self._loop.call_soon_threadsafe(self.left)

    def _wake(self) -> None:
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)
        self._waiting.clear()


class Along(Pieces):
    """The pieces of a call that others may read too."""

    def __init__(self, flight: Flight, *, first: bool) -> None:
        self.flight = flight
        self.first = first
        """Whether the call was begun for this one."""
        self._at = 0
        self._gone = False
        flight.join()

    async def begun(self) -> None:
        """Wait until the call has begun; what kept it from that is raised."""
        flight = self.flight
        while not flight.begun:
            await self._news()
        if flight.error is not None and not flight.pieces:
            self._gone = True
            self._raise(flight.error)

    async def __anext__(self) -> InferenceChunk:
        flight = self.flight
        while True:
            if self._gone:
                raise StopAsyncIteration
            if self._at < len(flight.pieces):
                piece = flight.pieces[self._at]
                self._at += 1
                # Pieces can be changed, so that each reader has some of its own.
                return piece if self.first else copy.copy(piece)
            if flight.ended:
                self._gone = True
                if flight.error is not None:
                    self._raise(flight.error)
                raise StopAsyncIteration
            await self._news()

    def _raise(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            # Not this reader was cancelled, but the call: the loop is being shut down.
            raise asyncio.CancelledError from error
        if self.first:
            raise error
        own = copy.copy(error)  # one that is shared gathers the traces of all
        own.__cause__ = error.__cause__
        raise own

    async def _news(self) -> None:
        try:
            await self.flight.news()
        except asyncio.CancelledError:
            self._gone = True
            raise

    def gather(self) -> None:
        """Pass on that the whole is wanted, where nobody else reads along."""
        self.flight.gather()

    async def aclose(self) -> None:
        """Leave; the last one ends the call."""
        if not self._gone:
            self._gone = True
            await self.flight.leave()

    def abandon(self) -> None:
        """Leave without waiting."""
        if not self._gone:
            self._gone = True
            self.flight.left_anywhere()

    def __del__(self) -> None:
        self.abandon()
