"""Turns: how many requests are worked on at once, how many wait, and what they hold together."""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import Receive

from blazen.server.failures import Refusal
from blazen.server.metrics import RequestCounters
from blazen.server.settings import ServerSettings
from blazen.server.work import GONE, until_gone

_LATER = {"Retry-After": "5"}


class Turns:
    """Gives requests their turn in order, and sends those away that come to a full queue."""

    def __init__(self, settings: ServerSettings, counters: RequestCounters) -> None:
        self._most, self._queue = settings.max_requests, settings.max_waiting
        self._room = int(settings.max_buffered)
        self._counters = counters
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, receive: Receive) -> None:
        """Wait for a turn, or until the client has gone; `give_back` ends it."""
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
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        gone = loop.create_task(until_gone(receive))
        self._waiting.append(turn)
        counters.waiting = len(self._waiting)
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                raise Refusal(GONE, "the client has gone")
        except BaseException:
            if turn.done():
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise
        finally:
            counters.waiting = len(self._waiting)
            gone.cancel()
            await asyncio.wait((gone,))

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
