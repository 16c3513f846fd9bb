"""Places for requests, given out in the order in which they were asked for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import Any

from blazen.checks import check_range
from blazen.errors import ValidationError

MINUTE = 60.0


class Limits:
    """How much may be asked at once and in any minute; several models may share one.

    Who comes first is served first, whichever thread and event loop they come from. Tokens are
    estimated before a request, and corrected by its usage after it.
    """

    def __init__(
        self,
        *,
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        given = {
            "concurrent": concurrent,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
        }
        for name, value in given.items():
            check_range(name, value, at_least=1, integer=True)
        if all(value is None for value in given.values()):
            raise ValidationError(f"give one of {', '.join(given)}")
        self.concurrent = concurrent
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self._clock = time.monotonic
        # A lock is only ever tried: whoever finds it taken leaves word here, and who has it looks
        # again. So a place is given back in a finalizer too, where to wait might be for ever.
        self._lock = threading.Lock()
        self._word: deque[tuple[Place, bool]] = deque()
        self._line: deque[Place] = deque()
        self._running = 0
        self._recent: deque[Place] = deque()
        """Those of the last minute, in the order of their beginning."""
        self._tokens = 0
        """What those of the last minute take together."""

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._line)

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return self._running

    async def enter(self, tokens: int) -> Place:
        """Wait for a place for a request of about so many tokens; `Place.leave` gives it back."""
        place = Place(self, min(tokens, self.tokens_per_minute or tokens))
        self._tell(place, entering=True)
        try:
            await place.given()
        except BaseException:
            place.leave(0)
            raise
        return place

    def _tell(self, place: Place, *, entering: bool) -> None:
        self._word.append((place, entering))
        self._look()

    def _look(self) -> None:
        while self._lock.acquire(blocking=False):
            try:
                while self._word:
                    place, entering = self._word.popleft()
                    if entering:
                        self._line.append(place)
                    else:
                        self._left(place)
                self._serve()
            finally:
                self._lock.release()
            if not self._word:
                return

    def _left(self, place: Place) -> None:
        if not place.granted:
            with contextlib.suppress(ValueError):
                self._line.remove(place)
            return
        if place.running:
            place.running = False
            self._running -= 1
        if place.recent:
            self._tokens += place.spent - place.tokens
        place.tokens = place.spent

    def _serve(self) -> None:
        now = self._clock()
        while self._recent and self._recent[0].since <= now - MINUTE:
            old = self._recent.popleft()
            old.recent = False
            self._tokens -= old.tokens
        while self._line:
            place = self._line[0]
            if self.concurrent is not None and self._running >= self.concurrent:
                return
            at = self._fits_at(place)
            if at > now:
                place.wake(at - now)
                return
            self._line.popleft()
            self._running += 1
            if self.requests_per_minute is not None or self.tokens_per_minute is not None:
                self._recent.append(place)
                self._tokens += place.tokens
                place.recent, place.since = True, now
            if not place.grant():
                self._left(place)  # its loop is closed

    def _fits_at(self, place: Place) -> float:
        """Give the time at which the minute before it leaves room for one more."""
        at = 0.0
        most = self.requests_per_minute
        if most is not None and len(self._recent) >= most:
            at = self._recent[len(self._recent) - most].since + MINUTE
        if self.tokens_per_minute is not None:
            over = self._tokens + place.tokens - self.tokens_per_minute
            for old in self._recent:
                if over <= 0:
                    break
                over -= old.tokens
                at = max(at, old.since + MINUTE)
        return at

    def __repr__(self) -> str:
        names = ("concurrent", "requests_per_minute", "tokens_per_minute")
        given = {name: getattr(self, name) for name in names}
        set_ones = ", ".join(f"{k}={v}" for k, v in given.items() if v is not None)
        return f"Limits({set_ones}; {self.running} running, {self.waiting} waiting)"


class Place:
    """A request's place within `Limits`."""

    def __init__(self, limits: Limits, tokens: int) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.tokens = tokens
        """What it is down for."""
        self.spent = tokens
        """What it took in the end."""
        self.since = 0.0
        self.granted = self.running = self.recent = self.gone = False

    async def given(self) -> None:
        """Wait until it is granted."""
        if self.granted:
            return
        self._future = self._loop.create_future()
        # It may have been granted on another thread just before there was a future.
        if self.granted:
            return
        try:
            await self._future
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def grant(self) -> bool:
        """Let it begin, from any thread; ``False`` where nobody is there to hear of it."""
        self.running = self.granted = True
        if self._future is None:
            return True
        return self._call(_settle, self._future)

    def wake(self, seconds: float) -> None:
        """Have the limits looked at again when there is room for it, from any thread."""
        self._call(self._alarm, seconds)

    def leave(self, tokens: int) -> None:
        """Give it back, with what it took; from anywhere, a finalizer too."""
        self.spent, self.gone = tokens, True
        self._limits._tell(self, entering=False)

    def _alarm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.granted and not self.gone:
            self._timer = self._loop.call_later(seconds, self._limits._look)

    def _call(self, function: Any, *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed
            return False
        return True


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
