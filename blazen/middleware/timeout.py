"""Answers that have to be there in time."""

from __future__ import annotations

import asyncio
import math
import sys
from asyncio import current_task
from collections.abc import Awaitable
from typing import Any, TypeVar

from blazen.checks import check_range
from blazen.errors import TimeoutError, ValidationError  # noqa: A004 - the name that users expect
from blazen.middleware.sources import Pieces
from blazen.middleware.wrapping import M, Way, WrappedModel, around
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, InferenceChunk, ModelResponse

T = TypeVar("T")

_UNCANCELS = sys.version_info >= (3, 11)


def with_timeout(
    model: M,
    total: float | None = None,
    *,
    first_token: float | None = None,
    between_tokens: float | None = None,
) -> M:
    """Give the model with requests that end in a `TimeoutError` when they take too long.

    The request is then stopped as one that is cancelled. Times are in seconds.

    Args:
        model: Any chat model.
        total: How long the answer may take as a whole.
        first_token: How long its beginning may take, with all that comes before: on this machine
            the first request loads the model, unless it was loaded.
        between_tokens: How long its reader may then have to wait for each further piece.
    """
    return around(TimeoutModel, model, total, first_token, between_tokens)


class TimeoutModel(WrappedModel):
    """A chat model that answers in time or not at all."""

    def __init__(
        self,
        model: Any,
        total: float | None,
        first_token: float | None,
        between_tokens: float | None,
    ) -> None:
        super().__init__(model)
        given = {"total": total, "first_token": first_token, "between_tokens": between_tokens}
        for name, seconds in given.items():
            check_range(name, seconds, at_least=0.001)
        if all(seconds is None for seconds in given.values()):
            raise ValidationError(f"give with_timeout one of {', '.join(given)}")
        self._total = total
        self._first = first_token
        self._between = between_tokens

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        if self._first is not None or self._between is not None:
            # Only pieces show when the first one comes.
            return await self.complete_stream(messages, options).collect()
        alarm = _Alarm(self.title)
        alarm.total(self._total)
        return await alarm.wait(self._inner.complete(messages, options))

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        alarm = _Alarm(self.title)
        alarm.total(self._total)
        alarm.next("first_token", self._first)
        source = await alarm.wait(self._inner.open(messages, options, way))
        return _Timed(source, alarm, self._first is not None, self._between)


class _Alarm:
    """Cancels the task that waits, when it has waited for too long.

    One timer serves a whole stream: to set one for each piece would cost more than the piece.
    """

    __slots__ = ("_before", "_last", "_loop", "_next", "_now", "_timer", "_title", "_waiter",
                 "_why", "rang", "task")  # fmt: skip

    def __init__(self, title: str) -> None:
        self._title = title
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self.task: asyncio.Task[Any] | None = None
        """The task that waits, while one does."""
        self._waiter: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.rang = False
        self._before = 0
        self._last = self._next = math.inf
        self._why = {"total": 0.0}

    def total(self, seconds: float | None) -> None:
        """Have no wait last longer than this, from now on."""
        if seconds is not None:
            self._last = self._loop.time() + seconds
            self._why["total"] = seconds

    def next(self, name: str, seconds: float | None) -> None:
        """Have the waits from now on end at this time; ``None``: only at that of the whole."""
        self._why.pop("first_token", None)
        if seconds is None:
            self._next = math.inf
        else:
            self._next = self._loop.time() + seconds
            self._why[name] = seconds

    def start(self, between: float | None = None) -> None:
        """Hear that a wait begins."""
        self.task = self._waiter = task = current_task()
        if between is not None:
            self._next = self._now() + between
        if _UNCANCELS:
            self._before = task.cancelling()  # type: ignore[union-attr]  # it runs in a task
        if self._timer is None:
            self._set()

    async def wait(self, step: Awaitable[T]) -> T:
        """Wait for something, until it is too late."""
        self.start()
        try:
            result = await step
        except BaseException as error:
            self.stop(error)
            raise
        self.stop()
        return result

    def stop(self, error: BaseException | None = None) -> None:
        """Hear that the wait is over; it is a `TimeoutError` where the alarm has ended it."""
        task, self.task = self._waiter, None
        if not self.rang:
            return
        self.rang = False
        if sys.version_info >= (3, 11) and task is not None and task.uncancel() > self._before:
            if isinstance(error, asyncio.CancelledError):
                return  # somebody else cancels it as well
            raise asyncio.CancelledError
        raise self._too_late() from None

    def end(self) -> None:
        """Hear that nobody will wait any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        at = min(self._next, self._last)
        if at < math.inf:
            self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.task is None:
            return  # its reader is busy: the next wait sets it again
        if self._loop.time() < min(self._next, self._last):
            self._set()
            return
        self.rang = True
        self.task.cancel()

    def _too_late(self) -> TimeoutError:
        name = "total" if self._last <= self._next else next(n for n in self._why if n != "total")
        what = {
            "total": "the answer is not there after",
            "first_token": "the answer has not begun after",
            "between_tokens": "the next piece of the answer is not there after",
        }[name]
        return TimeoutError(
            f"{self._title}: {what} the {self._why[name]:g} s that {name} allows: raise it, or ask "
            "for less"
        )


class _Timed(Pieces):
    """Pieces that have to be there in time."""

    def __init__(
        self, source: Pieces, alarm: _Alarm, waits_for_first: bool, between: float | None
    ) -> None:
        self._source = source
        self._alarm = alarm
        self._waits_for_first = waits_for_first
        self._between = between
        self._begun = False
        self._ended = False

    async def __anext__(self) -> InferenceChunk:
        if self._ended:
            raise StopAsyncIteration
        alarm = self._alarm
        alarm.start(self._between if self._begun else None)
        try:
            piece = await self._source.__anext__()
        except BaseException as error:
            self._ended = True
            alarm.end()
            alarm.stop(error)
            raise
        alarm.task = None
        if alarm.rang:  # just as the piece came
            self._ended = True
            alarm.end()
            await self._source.aclose()
            alarm.stop()
        if not self._begun and _says_something(piece):
            self._begun = True
            alarm.next("between_tokens", self._between)
        return piece

    def gather(self) -> None:
        """Pass on that the whole is wanted, unless its pieces are timed."""
        if not self._waits_for_first and self._between is None:
            self._source.gather()

    async def aclose(self) -> None:
        """Stop the source."""
        self._alarm.end()
        await self._source.aclose()

    def abandon(self) -> None:
        """Stop the source without waiting."""
        self._source.abandon()


def _says_something(piece: InferenceChunk) -> bool:
    return bool(piece.content or piece.reasoning or piece.tool_calls or piece.finish_reason)
