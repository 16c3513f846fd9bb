"""How a request finds its model: with a lease while it runs, along a chain of fallbacks."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from blazen import errors
from blazen.errors import (
    BackendCrashedError,
    BlazenError,
    BudgetError,
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.manager.admission import Admission
from blazen.manager.entries import Entry, Phase
from blazen.manager.events import EventHub, EventKind
from blazen.manager.lease import Lease
from blazen.manager.tracing import Span, Tracing
from blazen.types.route import Route, joined_route, with_route
from blazen.types.stream import Source, Stream, source_of

if TYPE_CHECKING:
    S = TypeVar("S", bound=Stream[Any, Any])

CANT_START = (
    BackendCrashedError,
    BudgetError,
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    errors.TimeoutError,
)
"""What keeps a model from starting, so that its fallback is asked."""

_SAID = {
    "image_to_mesh": "make a mesh of an image",
    "image_to_mesh_stream": "make a mesh of an image as a stream",
}
"""How verbs are said that are none of English."""


class Dispatch:
    """Asks a model by name, whatever it is asked for."""

    _admission: Admission
    _hub: EventHub
    _tracing: Tracing | None

    if TYPE_CHECKING:

        def _entry(self, id: str) -> Entry: ...  # noqa: A002

    async def _ask(
        self,
        verb: str,
        id: str,  # noqa: A002
        arguments: tuple[Any, ...],
        timeout: float | None,
        priority: int | None,
        settings: Mapping[str, Any] | None = None,
    ) -> Any:
        entry = self._entry(id)
        if entry.fallback or self._tracing is not None:
            return await self._ask_by_route(
                verb, entry, arguments, timeout, priority, settings or {}
            )
        method = entry.can.get(verb)
        if method is None:
            raise _cannot(entry, verb)
        lease = Lease(self._admission, entry, priority, timeout, cores=True)
        await lease.__aenter__()
        try:
            if settings:
                return await method(*arguments, **settings)
            return await method(*arguments)
        finally:
            lease.release()

    async def _ask_by_route(
        self,
        verb: str,
        entry: Entry,
        arguments: tuple[Any, ...],
        timeout: float | None,
        priority: int | None,
        settings: Mapping[str, Any],
    ) -> Any:
        with self._span(verb, entry) as span:
            lease, route = await self._start(verb, entry, timeout, priority, span)
            try:
                answer = await lease.entry.can[verb](*arguments, **settings)
            finally:
                lease.release()
        if not entry.fallback:
            return answer
        taken = joined_route(route, getattr(answer, "route", None))
        return answer if taken is None else with_route(answer, taken)

    def _span(self, verb: str, entry: Entry) -> AbstractContextManager[Span | None]:
        if self._tracing is None:
            return nullcontext()
        return self._tracing.span(f"blazen.{verb}", model_id=entry.id)

    def _stream(
        self,
        kind: Callable[[Callable[[], Awaitable[Source[Any]]]], S],
        verb: str,
        id: str,  # noqa: A002
        arguments: tuple[Any, ...],
        timeout: float | None,
        priority: int | None,
        settings: Mapping[str, Any] | None = None,
    ) -> S:
        entry = self._entry(id)
        if not entry.fallback and verb not in entry.can:
            raise _cannot(entry, verb)

        async def start() -> Source[Any]:
            tracing = self._tracing
            span = None if tracing is None else tracing.begin(f"blazen.{verb}", model_id=entry.id)
            lease = None
            try:
                lease, route = await self._start(verb, entry, timeout, priority, span)
                pieces = lease.entry.can[verb](*arguments, **(settings or {}))
                source = await source_of(pieces)
            except BaseException as error:
                if lease is not None:
                    lease.release()
                if span is not None:
                    span.end(error)
                raise
            taken = _Taken(stream, route if entry.fallback else None, pieces)
            taken.tell()
            return LeasedSource(source, lease, span, taken)

        stream = kind(start)
        return stream

    async def _start(
        self,
        verb: str,
        entry: Entry,
        timeout: float | None,
        priority: int | None,
        span: Span | None,
    ) -> tuple[Lease, Route]:
        """Give a lease on the first model of a chain that can start."""
        asked, reasons = entry, list[str]()
        chain = [entry.id, *entry.fallback]
        if not entry.fallback and verb not in entry.can:
            raise _cannot(entry, verb)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        end = None if timeout is None else begun + timeout
        problem: BlazenError | None = None
        for place, name in enumerate(chain):
            last = place == len(chain) - 1
            try:
                # A name that is not there is a reason to go on, a value that can't be right is not.
                entry = self._fallback(name)
                if verb not in entry.can:
                    raise _cannot(entry, verb)
                left = None if end is None else max(0.0, end - loop.time())
                patience = left if last else _shortest(left, asked.spill)
                lease = Lease(self._admission, entry, priority, patience, cores=True)
                if not last and patience is not None:
                    self._expect_in_time(entry, patience)
                await lease.__aenter__()
            except (*CANT_START, UnsupportedError) as error:
                if last:
                    raise error from problem
                reasons.append(str(error))
                problem = error
                self._hub.tell(EventKind.Spilled, asked.id, by=chain[place + 1], detail=str(error))
            else:
                if span is not None:
                    span.set(wait_seconds=loop.time() - begun, answered_by=name)
                return lease, Route(asked.id, name, tuple(reasons))
        raise AssertionError("the last one was given or has raised")

    def _fallback(self, name: str) -> Entry:
        try:
            return self._entry(name)
        except ValidationError as error:
            raise ModelNotFoundError(str(error)) from error

    def _expect_in_time(self, entry: Entry, patience: float) -> None:
        """Have a model load on although this request may not wait for it to the end.

        The request would take its load with it when it goes to the fallback, and so would each
        one after it: the model would never be there.
        """
        if entry.remote or entry.phase is Phase.Ready:
            return
        self._admission.want(entry)
        if entry.load_seconds is not None and entry.load_seconds > patience and not entry.leases:
            raise errors.TimeoutError(
                f"{entry.id!r} is not loaded; its last load took {entry.load_seconds:.1f} s, and "
                f"it may take {patience:g} s"
            )


class _Taken:
    """By which way a stream's answer comes: the manager's, and the model's own behind it."""

    def __init__(self, stream: Stream[Any, Any], own: Route | None, inner: Any) -> None:
        # It holds its source, and that this.
        self._stream = weakref.ref(stream)
        self._own = own
        self._inner = inner

    def tell(self) -> None:
        """Tell the stream; what the model decides may change until its first piece is there."""
        stream = self._stream()
        if stream is not None:
            stream.route = joined_route(self._own, getattr(self._inner, "route", None))


class LeasedSource(Source[Any]):
    """The pieces of a stream, and the lease that ends with them."""

    def __init__(self, source: Source[Any], lease: Lease, span: Span | None, taken: _Taken) -> None:
        self._taken = taken
        self._source = source
        self._lease = lease
        self._span = span
        self._loop = asyncio.get_running_loop()
        self._left = False

    async def __anext__(self) -> Any:
        try:
            return await self._source.__anext__()
        except BaseException as error:
            # The end, an error or a cancelling: in each case the source has stopped.
            self._taken.tell()
            self._lease.release()
            if self._span is not None:
                self._span.end(None if isinstance(error, StopAsyncIteration) else error)
            raise

    def gather(self) -> None:
        """Pass on that the whole is wanted."""
        self._source.gather()

    async def aclose(self) -> None:
        """Stop the model, then give it back."""
        try:
            await self._source.aclose()
        finally:
            self._taken.tell()
            self._lease.release()
            if self._span is not None:
                self._span.end()

    def abandon(self) -> None:
        """Stop without waiting, from anywhere, a finalizer too; the lease ends with the model."""
        if self._left:
            return
        self._left = True
        self._taken.tell()
        self._lease.abandon(self._source, self._loop)
        if self._span is not None:
            with suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._span.end)

    def __del__(self) -> None:
        if self._lease.granted:
            self.abandon()


def _shortest(one: float | None, other: float | None) -> float | None:
    found = [value for value in (one, other) if value is not None]
    return min(found) if found else None


def _cannot(entry: Entry, verb: str) -> UnsupportedError:
    said = _SAID.get(verb) or verb.replace("_", " ")
    return UnsupportedError(f"{entry.id!r} can't {said}: it can be asked to {', '.join(entry.can)}")
