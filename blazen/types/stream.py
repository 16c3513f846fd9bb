"""Answers that arrive piece by piece."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from blazen.errors import BlazenError
from blazen.types.route import Route

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    """Where pieces come from: an asynchronous iterator that can be closed, or left in a hurry."""

    async def __anext__(self) -> T_co: ...

    def gather(self) -> None:
        """Hear that the whole is wanted: there is no hurry to hand out a piece."""

    async def aclose(self) -> None:
        """Stop, and wait until it has."""

    def abandon(self) -> None:
        """Stop without waiting; it may be called anywhere, in a finalizer too."""


class Stream(Generic[T, R]):
    """Pieces of an answer, as they come, and the answer so far.

    Nothing runs until the stream is awaited, entered or read. ``stream = await ...`` starts it, so
    that what can't start fails there. Leaving the loop, closing the stream, cancelling its reader
    or dropping it stops the engine at its next piece; what came until then stays in `response`.

    A kind of stream says how pieces make an answer: it overrides ``_add``, ``_end`` and `response`.
    """

    def __init__(self, start: Callable[[], Awaitable[Source[T]]]) -> None:
        self._start: Callable[[], Awaitable[Source[T]]] | None = start
        self._source: Source[T] | None = None
        self._busy = False
        self._ended = False
        self._starter: asyncio.Task[Any] | None = None
        self._stopped: asyncio.Event | None = None

    @classmethod
    def of(cls, pieces: AsyncIterator[T], *, at_once: bool = False) -> Self:
        """Make a stream of an asynchronous generator.

        ``at_once`` has the first piece come while the stream starts, so that what can't begin fails
        there; otherwise the generator is not run before a piece is read.
        """

        async def start() -> Source[T]:
            source = _Generated(pieces)
            if at_once:
                await source.begin()
            return source

        return cls(start)

    route: Route | None = None
    """Which of a manager's models answers, where there was a choice."""

    @property
    def response(self) -> R:
        """The answer so far; the whole answer once the stream has ended."""
        raise NotImplementedError

    def _add(self, piece: T) -> None:
        raise NotImplementedError

    def _end(self, *, whole: bool) -> None:
        """Hear that no more pieces come, and whether the answer is whole."""

    async def collect(self) -> R:
        """Read to the end and give the whole answer."""
        async with self:
            if self._source is not None:
                self._source.gather()
            async for _ in self:
                pass
        return self.response

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[T]:
        # An iterator of its own: when a loop is left early, nothing but the loop held it, so it is
        # dropped there and stops the engine. Python gives no other sign of a ``break``.
        return _Reading(self)

    async def __anext__(self) -> T:
        self._expect_no_reader()
        if self._ended:
            raise StopAsyncIteration
        source = self._source or await self._begin()
        if source is None:
            raise StopAsyncIteration
        self._busy = True
        try:
            piece = await source.__anext__()
        except BaseException as error:
            # The end, an error or a cancelling: in each case the source has stopped.
            self._finish(whole=isinstance(error, StopAsyncIteration))
            raise
        finally:
            self._busy = False
        self._add(piece)
        return piece

    async def begin(self) -> Source[T]:
        """Start, and give where the pieces come from: for a stream that is made of this one.

        From then on they are read there, and not here.
        """
        source = await self._begin()
        if source is None:
            raise BlazenError("this stream was closed before it was read")
        return source

    def redirect(self, start: Callable[[], Awaitable[Source[T]]]) -> None:
        """Have the pieces of a stream that has not begun come from elsewhere."""
        if self._start is None:
            raise BlazenError("this stream has begun already: its pieces come from where they do")
        self._start = start

    async def aclose(self) -> None:
        """Stop the engine at its next piece and wait until it has; what came is kept."""
        self._finish()
        if self._source is not None:
            await self._source.aclose()
        elif self._starter is not None:
            self._stopped = asyncio.Event()
            self._starter.cancel()
            await self._stopped.wait()

    def abandon(self) -> None:
        """Stop the engine at its next piece without waiting for it."""
        self._finish()
        if self._source is not None:
            self._source.abandon()

    def __repr__(self) -> str:
        state = "ended" if self._ended else "not started" if self._source is None else "open"
        return f"<{type(self).__name__} {state}: {self.response!r}>"

    async def _begin(self) -> Source[T] | None:
        """Start, unless that is done; ``None`` where the stream was closed before it could."""
        if self._source is not None or self._ended:
            return self._source
        self._expect_no_reader()
        # Not kept: it refers to the request, and to the pieces of one that is dropped.
        start, self._start = self._start, None
        if start is None:
            return None
        self._busy = True
        self._starter = asyncio.current_task()
        try:
            source = await start()
            if self._ended:  # left while it was starting
                await source.aclose()
                return None
            self._source = source
        except BaseException as error:
            self._finish()
            if self._stopped is None or not isinstance(error, asyncio.CancelledError):
                raise
            _uncancel(self._starter)
            return None
        finally:
            self._busy = False
            self._starter = None
            if self._stopped is not None:
                self._stopped.set()
        return source

    def _expect_no_reader(self) -> None:
        if self._busy:
            raise BlazenError("this stream is being read already: one reader at a time")

    def _finish(self, *, whole: bool = False) -> None:
        if not self._ended:
            self._ended = True
            self._end(whole=whole)


async def source_of(pieces: Any) -> Source[Any]:
    """Start a model's stream, and give what its pieces come from."""
    if isinstance(pieces, Stream):
        return await pieces.begin()
    if hasattr(pieces, "__await__"):
        pieces = await pieces
    return await Stream.of(pieces.__aiter__()).begin()


class _Reading(Generic[T, R]):
    def __init__(self, stream: Stream[T, R]) -> None:
        self._stream = stream
        self._reads = False

    def __aiter__(self) -> _Reading[T, R]:
        return self

    async def __anext__(self) -> T:  # not passed on: its coroutine must hold this object
        if not self._reads:
            self._stream._expect_no_reader()
            self._reads = True
        return await self._stream.__anext__()

    def __del__(self) -> None:
        if self._reads:  # one that was refused must not end the stream of another
            self._stream.abandon()


class _Generated(Generic[T]):
    """A source from an asynchronous generator; the loop itself closes one that is dropped."""

    def __init__(self, pieces: AsyncIterator[T]) -> None:
        self._pieces: AsyncIterator[T] | None = pieces
        self._first: list[T] = []
        self._step: asyncio.Task[Any] | None = None
        self._closing = False
        self._ended: asyncio.Event | None = None

    async def begin(self) -> None:
        """Have the first piece come, which is read next."""
        assert self._pieces is not None
        with suppress(StopAsyncIteration):
            self._first.append(await self._pieces.__anext__())

    async def __anext__(self) -> T:
        if self._pieces is None or self._closing:
            raise StopAsyncIteration
        if self._first:
            return self._first.pop()
        self._step = asyncio.current_task()
        try:
            return await self._pieces.__anext__()
        except asyncio.CancelledError:
            if not self._closing:
                raise
            _uncancel(self._step)
            raise StopAsyncIteration from None
        finally:
            self._step = None
            if self._ended is not None:
                self._ended.set()

    def gather(self) -> None:
        """It has no other pace than its generator's."""

    async def aclose(self) -> None:
        # A generator can't be closed while a step of it runs: the step is ended first.
        self._closing = True
        if self._step is not None:
            self._ended = asyncio.Event()
            self._step.cancel()
            await self._ended.wait()
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()

    def abandon(self) -> None:
        self._pieces = None


def _uncancel(task: asyncio.Task[Any] | None) -> None:
    """Take back a cancelling that was only meant to end what the task waits for."""
    if task is not None and sys.version_info >= (3, 11):
        task.uncancel()
