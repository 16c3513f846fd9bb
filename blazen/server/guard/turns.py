"""Turns: how many requests are worked on at once, how many wait, and what they hold together."""

from __future__ import annotations

import asyncio
from collections import deque

from blazen.server.failures import Refusal
from blazen.server.metrics import RequestCounters
from blazen.server.settings import ServerSettings

_LATER = {"Retry-After": "5"}


class Turns:
    """Gives requests their turn in order, and sends those away that come to a full queue."""

    def __init__(self, settings: ServerSettings, counters: RequestCounters) -> None:
        self._most, self._queue = settings.max_requests, settings.max_waiting
        self._room = int(settings.max_buffered)
        self._counters = counters
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a turn; `give_back` ends it."""
        counters = self._counters
        if counters.going < self._most:
            counters.going += 1
            return
        if len(self._waiting) >= self._queue:
            raise Refusal(
                503,
                f"{counters.going} requests are worked on and {len(self._waiting)} wait: "
                "try again in a moment",
                headers=_LATER,
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        counters.waiting = len(self._waiting)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise
        finally:
            counters.waiting = len(self._waiting)

    def give_back(self) -> None:
        """End a turn; the next request that waits has it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._counters.going -= 1

    def hold(self, size: int) -> None:
        """Account for some bytes of a body."""
        if size > self._room:
            raise Refusal(
                503, "other requests hold too much already: try again in a moment", headers=_LATER
            )
        self._room -= size

    def let_go(self, size: int) -> None:
        """Give them back."""
        self._room += size
