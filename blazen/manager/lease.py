"""A model that can't go while it is held."""

from __future__ import annotations

import asyncio
import copy
import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from blazen.checks import check_range
from blazen.errors import BlazenError
from blazen.manager.entries import Entry, Ticket
from blazen.types.stream import Source

if TYPE_CHECKING:
    from blazen.manager.admission import Admission

_held: ContextVar[Ticket | None] = ContextVar("blazen_held_lease", default=None)
"""The latest lease of the running task, or of the one that began it."""


class Lease(Ticket):
    """Holds a model: ``async with manager.lease("llm") as model: ...``.

    While it is held the model is loaded, and neither evicted nor unloaded.
    """

    __slots__ = ("_admission", "_future", "_loop", "_timeout")

    def __init__(
        self,
        admission: Admission,
        entry: Entry,
        priority: int | None = None,
        timeout: float | None = None,
        cores: bool = False,
    ) -> None:
        # Not by way of Ticket's own: this is on the path of every request.
        self.entry = entry
        self.priority = entry.priority if priority is None else priority
        self.parent = None
        self.cores = cores
        self.background = False
        self.keeps = True
        self.settle = None
        self.granted = False
        self.waiting = False
        self.since = 0.0
        self._admission = admission
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[None] | None = None

    @property
    def model(self) -> Any:
        """The model; only while the lease is held."""
        if not self.granted:
            raise BlazenError(f"the lease on {self.entry.id!r} is not held")
        return self.entry.model

    async def __aenter__(self) -> Any:
        if self.granted or self.waiting:
            raise self._taken()
        parent = _held.get()
        while parent is not None and not parent.granted:
            parent = parent.parent
        self.parent = parent
        if not self._admission.at_once(self):
            await self.reach()
        _held.set(self)
        return self.entry.model

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the model back; it may be called twice."""
        if sys.exc_info()[0] is GeneratorExit:  # a coroutine is dropped: perhaps in a finalizer
            self.abandon()
            return
        self._admission.release(self)
        if _held.get() is self:
            _held.set(self.parent)

    def abandon(
        self, source: Source[Any] | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Give the model back from anywhere, a finalizer too, and stop first what it does."""
        if source is not None and loop is not None and self.granted:
            self._admission.close_later(source, self, loop)
        elif self.granted:
            self._admission.release_later(self)
        elif source is not None:
            source.abandon()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that its holder waits on."""
        return self._loop

    async def reach(
        self,
        begin: Callable[[Ticket, float], None] | None = None,
        end: Callable[[Ticket, float], None] | None = None,
        *,
        wish: str = "ready",
    ) -> None:
        """Wait until the scheduler has done what was begun; whoever gives up ends it."""
        if self.granted or self.waiting:
            raise self._taken()
        check_range("timeout", self._timeout, at_least=0)
        check_range("priority", self.priority, integer=True)
        admission, loop = self._admission, asyncio.get_running_loop()
        self._loop, self._future = loop, loop.create_future()
        self.settle = self._settled
        alarm = None
        if self._timeout is not None:
            alarm = loop.call_later(self._timeout, self._late, self._timeout, wish)
        try:
            await admission.enter(self, begin or admission.scheduler.wait)
            await self._future
        except GeneratorExit:  # the task is dropped, perhaps in a finalizer
            admission.leave_later(self, end or admission.scheduler.cancel)
            raise
        except BaseException:
            admission.leave(self, end or admission.scheduler.cancel)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
            # What they refer to must not outlive the wait.
            self.settle = self._future = None

    async def or_settled(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work before the wait, unless the wait ends first."""
        future, task = self._future, asyncio.get_running_loop().create_task(work)
        assert future is not None
        try:
            await asyncio.wait((future, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if not future.done():
            task.result()
        else:
            await future

    def expect_not_held(self) -> None:
        """Refuse to wait for the end of a lease that the running task has itself."""
        ticket = _held.get()
        while ticket is not None:
            if ticket.granted and ticket.entry is self.entry:
                raise BlazenError(
                    f"{self.entry.id!r} can't be unloaded by a task that has a lease on it: "
                    "end the lease, or the stream, first"
                )
            ticket = ticket.parent

    def _taken(self) -> BlazenError:
        return BlazenError(f"this lease on {self.entry.id!r} is held already: take another")

    def _settled(self, error: BaseException | None) -> None:
        """Hear how the waiting ended; called on any thread."""
        future, loop = self._future, self._loop
        if future is None or loop is None:
            return
        try:
            running = asyncio._get_running_loop()
            if running is loop:
                _finish(future, error)
            else:
                loop.call_soon_threadsafe(_finish, future, error)
        except RuntimeError:  # its loop is closed: nobody waits any more
            self._admission.release_later(self)

    def _late(self, timeout: float, wish: str) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_exception(self._admission.too_late(self, timeout, wish))

    def __repr__(self) -> str:
        state = "held" if self.granted else "waiting" if self.waiting else "not held"
        return f"<Lease on {self.entry.id!r}, {state}>"


def _finish(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(_for_one(error))


def _for_one(error: BaseException) -> BaseException:
    """Give each who waited an error of their own: one that is shared gathers all their traces."""
    if not isinstance(error, BlazenError):
        return error
    try:
        own: BaseException = copy.copy(error)
    except Exception:  # noqa: BLE001 - an outsider's error may not be one that can be copied
        return error
    own.__cause__ = error.__cause__
    return own
