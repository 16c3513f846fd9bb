"""Drives the scheduler: one at a time asks it, then does what it says, on a loop that is there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from blazen.manager.entries import (
    Entry,
    Load,
    Phase,
    Settle,
    Share,
    StopLoading,
    Ticket,
    Unload,
    Wake,
)
from blazen.manager.scheduler import Scheduler
from blazen.sync import background_loop

Loop = asyncio.AbstractEventLoop

log = logging.getLogger("blazen.manager")


class Lifecycle(Protocol):
    """What is done with a model: each of these ends by telling the scheduler how it went."""

    async def load(self, entry: Entry) -> None:
        """Bring it into memory."""

    async def stop_loading(self, entry: Entry) -> None:
        """See that nothing is left of a load that was cut short."""

    async def unload(self, entry: Entry) -> None:
        """Have it give its memory back."""


class Driver:
    """The scheduler, the lock that guards it, and the tasks that do what it says.

    A load or an unload is a task of its own: whoever asked for it may be cancelled without ending
    it for others. It runs on the loop of one who waits for it, and when that loop is closed
    underneath it the loop of the blocking callers takes it over.
    """

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float]) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.lock = threading.Lock()  # held for a few instructions, never while something runs
        self.lifecycle: Lifecycle
        self.home: Loop | None = None
        """The loop that was last waited on."""
        self.stopped: set[Entry] = set()
        """Whose load was cut short since nobody waited for it any more."""
        self._tasks: dict[Entry, tuple[asyncio.Task[None] | None, Loop, object]] = {}
        """What runs for each model, where, and which run of it that is."""
        self.alarms: dict[object, tuple[float, Loop, Callable[[], object]]] = {}
        """What is to be called when, and the loop that keeps the time."""

    def do(self, step: Callable[..., None], *arguments: Any, **settings: Any) -> None:
        """Tell the scheduler something, and do what follows. The time comes last."""
        try:
            with self.lock:
                step(*arguments, self.clock(), **settings)
        finally:  # a policy that raises must not keep others from what is theirs
            self.perform()

    def perform(self) -> None:
        """Do what is to be done. Called without the lock, on any thread."""
        with self.lock:
            actions = self.scheduler.take_actions()
        for action in actions:
            if isinstance(action, Settle):
                settle = action.ticket.settle
                if settle is not None:
                    settle(action.error)
            elif isinstance(action, Load):
                self._begin(action.entry, self.lifecycle.load)
            elif isinstance(action, Unload):
                self._begin(action.entry, self.lifecycle.unload)
            elif isinstance(action, StopLoading):
                self._stop(action.entry)
            elif isinstance(action, Wake):
                self.call_later(max(0.0, action.at - self.clock()), self._tick)
            elif isinstance(action, Share):
                self._share(action.entry, action.threads)

    def _share(self, entry: Entry, threads: int) -> None:
        try:
            entry.model.share_threads(threads)
        except Exception as error:  # noqa: BLE001 - what else is to be done must not end with it
            log.warning("%s can't change its threads: %s", entry.id, error)

    def call(self, loop: Loop, what: Callable[[], object]) -> bool:
        """Have something called on a loop; ``False`` where the loop is closed."""
        try:
            loop.call_soon_threadsafe(what)
        except RuntimeError:
            return False
        return True

    def call_later(self, delay: float, what: Callable[[], object]) -> None:
        """Have something called after a while, on whichever loop is there."""
        loop, alarm = self._loop(), object()
        self.alarms[alarm] = (self.clock() + delay, loop, what)

        def ring() -> None:
            if self.alarms.pop(alarm, None) is not None:
                what()

        self.call(loop, lambda: loop.call_later(delay, ring))

    def rescue(self) -> None:
        """Take over what closed loops have left undone: timers, loads, unloads."""
        for alarm, (at, loop, what) in tuple(self.alarms.items()):
            if loop.is_closed() and self.alarms.pop(alarm, None) is not None:
                self.call_later(max(0.0, at - self.clock()), what)
        for entry, (task, loop, _) in tuple(self._tasks.items()):
            if loop.is_closed() and (task is None or not task.done()):
                self._take_over(entry)

    def _tick(self) -> None:
        self.do(self.scheduler.pump)

    def _begin(self, entry: Entry, effect: Callable[[Entry], Coroutine[Any, Any, None]]) -> None:
        loop, run = self._loop(entry), object()
        self._tasks[entry] = (None, loop, run)

        def start() -> None:
            self._tasks[entry] = (loop.create_task(self._run(entry, effect, run)), loop, run)

        if asyncio._get_running_loop() is loop:
            start()
        elif not self.call(loop, start):  # it was closed in this moment
            self._take_over(entry)

    def _loop(self, entry: Entry | None = None) -> Loop:
        waiting = () if entry is None or entry.demand is None else tuple(entry.demand.tickets)
        for loop in (*map(_loop_of, waiting), asyncio._get_running_loop(), self.home):
            if loop is not None and not loop.is_closed():
                return loop
        return background_loop()

    async def _run(
        self, entry: Entry, effect: Callable[[Entry], Coroutine[Any, Any, None]], run: object
    ) -> None:
        try:
            await effect(entry)
        except (GeneratorExit, asyncio.CancelledError):  # the loop goes, and this task with it
            if self._is_current(entry, run):  # not where another loop has it by now
                self._take_over(entry)
            raise
        if self._is_current(entry, run):
            del self._tasks[entry]

    def _is_current(self, entry: Entry, run: object) -> bool:
        held = self._tasks.get(entry)
        return held is not None and held[2] is run

    def _take_over(self, entry: Entry) -> None:
        loop = background_loop()
        leaves = entry.phase is Phase.Unloading
        effect = self.lifecycle.unload if leaves else self.lifecycle.stop_loading
        run = object()
        self._tasks[entry] = (None, loop, run)

        def start() -> None:
            self._tasks[entry] = (loop.create_task(self._run(entry, effect, run)), loop, run)

        self.call(loop, start)

    def _stop(self, entry: Entry) -> None:
        task, loop, _ = self._tasks.get(entry, (None, None, None))
        if loop is None:
            return
        self.stopped.add(entry)
        # One that is about to begin is on its way to the loop before this is.
        if not self.call(loop, task.cancel if task is not None else lambda: self._stop(entry)):
            self.rescue()


def _loop_of(ticket: Ticket) -> Loop | None:
    return getattr(ticket, "loop", None)
