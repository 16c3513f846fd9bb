"""Who is let in, who waits, and who gives way when the cells run out."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from queue import SimpleQueue

from blazen.bridge import Job
from blazen.errors import InferenceError
from blazen_llamacpp.cache import Cache, Slot
from blazen_llamacpp.request import Request


class Change:
    """Something to be done to the context while no request is under way."""

    def __init__(self, work: Callable[[], None], job: Job) -> None:
        self.job = job
        self.failure: Exception | None = None
        self.ended: SimpleQueue[None] = SimpleQueue()
        self._work = work

    def make(self) -> None:
        """Do it; who asked for it hears of what goes wrong."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - raised by who asked for it
            self.failure = error
        self.ended.put(None)


class Line:
    """The requests on their way to a slot, in the order in which they came."""

    def __init__(self, cache: Cache, taken: Callable[[Slot], None]) -> None:
        """Prepare an empty line; ``taken`` hears of each slot that has a new request."""
        self._cache = cache
        self._taken = taken
        self._waiting: list[Request] = []
        self._changes: list[Change] = []
        self._number = 0
        self._crowd: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting and not self._changes

    def enter(self, request: Request) -> None:
        """Put a request at the end."""
        self._number += 1
        request.number = self._number
        self._waiting.append(request)

    def enter_change(self, change: Change) -> None:
        """Have something done once no request is under way; until then no one else is let in."""
        self._changes.append(change)

    def drop_cancelled(self) -> None:
        """Let go of those whose callers have gone, running or not."""
        for slot in self._cache.slots:
            request = slot.request
            if request is not None and request.job.cancelled:
                self._cache.release(slot)
                request.leave()
        if any(request.job.cancelled for request in self._waiting):
            left = [request for request in self._waiting if request.job.cancelled]
            self._waiting = [request for request in self._waiting if request not in left]
            for request in left:
                request.leave()
        for change in [change for change in self._changes if change.job.cancelled]:
            self._changes.remove(change)
            change.ended.put(None)

    def admit(self) -> None:
        """Let those in who wait, while there is a slot, and room for what they have to read."""
        if self._changes and not self._is_under_way():
            self._cache.forget_all()
            while self._changes:
                self._changes.pop(0).make()
        while self._waiting and not self._is_crowded():
            request = self._waiting[0]
            if self._changes and not request.has_begun:
                break
            slot = self._cache.prepare(request.tokens)
            if slot is None or not self._fits(request, slot):
                break
            del self._waiting[0]
            slot.request = request
            self._taken(slot)
            request.begin(len(slot.cells))
        if not self.is_empty:
            # Who is held back for a slow reader must not hold others back with it.
            for slot in self._cache.slots:
                if slot.request is not None and slot.request.resting:
                    slot.request.job.release()

    def make_room(self, need: int) -> bool:
        """Free cells for a step; ``False`` where a request had to give way, so plan anew."""
        while self._cache.room < need:
            if not self._cache.forget_oldest():
                self._give_way()
                return False
        return True

    def _give_way(self) -> None:
        running = [
            (slot.request.number, slot.request, slot)
            for slot in self._cache.slots
            if slot.request is not None
        ]
        self._crowd = len(running) - 1
        _, request, slot = max(running)
        self._cache.forget(slot)
        self._cache.release(slot)
        if len(running) == 1:
            request.fail(InferenceError("llama.cpp has no room for what it should remember"))
        else:  # later it reads anew all that it had, and goes on from there
            bisect.insort(self._waiting, request, key=lambda r: r.number)

    def _is_under_way(self) -> bool:
        """Say whether a request runs, or gave way in the middle of its answer."""
        running = any(slot.request is not None for slot in self._cache.slots)
        return running or any(request.has_begun for request in self._waiting)

    def _is_crowded(self) -> bool:
        """Say whether someone gave way, and those for whom he did all still run.

        Let in at once, he would read all that he had, and have to give way again.
        """
        running = sum(slot.request is not None for slot in self._cache.slots)
        if self._crowd is not None and running < self._crowd:
            self._crowd = None
        return self._crowd is not None and running > 0

    def _fits(self, request: Request, slot: Slot) -> bool:
        running = sum(s.request is not None for s in self._cache.slots)
        need = len(request.tokens) - len(slot.cells) + 1 + running
        while self._cache.room < need and self._cache.forget_oldest(keep=slot):
            pass
        return self._cache.room >= need or running == 0
