"""Streams' sources that middleware puts before those of a model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from blazen.types.completion import InferenceChunk
from blazen.types.stream import Source

Pieces = Source[InferenceChunk]


class Replaceable(Pieces):
    """Pieces of a source that gives way to another one as long as nothing has come of it.

    ``again`` hears why the source failed; it gives the next one, or raises.
    """

    def __init__(self, source: Pieces, again: Callable[[Exception], Awaitable[Pieces]]) -> None:
        self._source = source
        self._again = again
        self._came = self._gathers = self._closing = False
        self._next: asyncio.Future[Pieces] | None = None

    async def __anext__(self) -> InferenceChunk:
        if self._came:
            return await self._source.__anext__()
        while not self._came:
            try:
                piece = await self._source.__anext__()
                self._came = True
            except StopAsyncIteration:
                raise
            except Exception as error:
                if self._closing:
                    raise
                problem = error
            if not self._came:
                await self._replace(problem)
        return piece

    async def _replace(self, error: Exception) -> None:
        # A task of its own, which `aclose` can end although somebody else waits for it.
        self._next = asyncio.ensure_future(self._again(error))
        try:
            self._source = await self._next
        except asyncio.CancelledError:
            if self._closing:
                raise StopAsyncIteration from None
            raise
        finally:
            self._next = None
        if self._gathers:
            self._source.gather()
        if self._closing:
            await self._source.aclose()
            raise StopAsyncIteration

    def gather(self) -> None:
        """Pass on that the whole is wanted."""
        self._gathers = True
        self._source.gather()

    async def aclose(self) -> None:
        """Stop, whichever source it is at."""
        self._closing = True
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait((self._next,))
        await self._source.aclose()

    def abandon(self) -> None:
        """Stop without waiting; while a next source is sought its reader is cancelled."""
        self._closing = True
        self._source.abandon()


class Watcher:
    """Hears of each piece of a stream, and once how the stream ended."""

    def piece(self, piece: InferenceChunk) -> None:
        """Hear of a piece before its reader does; what this raises ends the stream."""

    def ended(self, error: BaseException | None) -> None:
        """Hear that it ended: whole, with an error, or left early (``GeneratorExit``)."""

    def left(self) -> None:
        """Hear at once that it was dropped, in a finalizer perhaps, where no lock may be taken."""


class Watched(Pieces):
    """Pieces on their way to a reader, past a watcher."""

    def __init__(self, source: Pieces, watcher: Watcher) -> None:
        self._source = source
        self._watcher = watcher
        self._piece = watcher.piece
        self._end = _Ending(watcher)
        self._loop = asyncio.get_running_loop()
        self._closing = False

    async def __anext__(self) -> InferenceChunk:
        try:
            piece = await self._source.__anext__()
        except StopAsyncIteration:
            self._end(GeneratorExit() if self._closing else None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        try:
            self._piece(piece)
        except BaseException as error:
            await self._source.aclose()
            self._end(error)
            raise
        return piece

    def gather(self) -> None:
        """Pass on that the whole is wanted."""
        self._source.gather()

    async def aclose(self) -> None:
        """Stop the source, then tell."""
        self._closing = True
        try:
            await self._source.aclose()
        finally:
            self._end(GeneratorExit())

    def abandon(self) -> None:
        """Stop without waiting, and tell on the loop as soon as it turns."""
        if self._closing or self._end.told:
            return
        self._closing = True
        self._source.abandon()
        self._watcher.left()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end, GeneratorExit())

    def __del__(self) -> None:
        self.abandon()


class _Ending:
    """Tells a watcher of the end, once."""

    __slots__ = ("_watcher", "told")

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.told = False

    def __call__(self, error: BaseException | None) -> None:
        if not self.told:
            self.told = True
            self._watcher.ended(error)
