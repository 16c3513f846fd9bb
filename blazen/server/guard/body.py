"""The body of a request as it comes in: measured, timed, and looked at before anyone parses it."""

from __future__ import annotations

import asyncio
import time

from starlette.types import Message, Receive

from blazen.server.failures import Refusal
from blazen.server.guard.head import Head, too_large
from blazen.server.guard.json_shape import JsonShape
from blazen.server.guard.turns import Turns
from blazen.server.settings import ServerSettings

_SLOWEST = 16 << 10
"""Bytes a second that a body must come with; it may lag behind by its patience."""
_DRAINED = 64 << 20
_DRAIN_SECONDS = 2.0
_TOO_SLOW = 408


class Body:
    """Hands a body on within the limits; a request gets its turn once all of it is there."""

    def __init__(
        self, receive: Receive, head: Head, settings: ServerSettings, turns: Turns
    ) -> None:
        self._receive, self._turns = receive, turns
        self.complete = not head.has_body
        self.refused: Refusal | None = None
        """Why it was not taken; whatever the application says then is not the answer."""
        self._limit, self._word = head.limit(settings)
        self._shape: JsonShape | None = None
        if head.is_json:
            self._shape = JsonShape(depth=settings.max_json_depth, values=settings.max_json_values)
        self._patience = settings.body_timeout
        self._due = 0.0
        """When the next piece must be there: what comes faster earns no more than the patience."""
        self._size = self._held = 0
        self._has_turn = self._asked = False

    async def receive(self) -> Message:
        """Give the next piece to the application."""
        if self._asked and self.complete:
            return await self._receive()
        try:
            return await self._next()
        except Refusal as refusal:
            self.refused = refusal
            raise

    async def _next(self) -> Message:
        if not self._asked:
            self._asked, self._due = True, time.monotonic() + self._patience
        if self.complete:
            message = await self._receive()
        else:
            message = await self._in_time()
        if message["type"] != "http.request":
            return message
        data = message.get("body", b"")
        if data:
            self._measure(data)
        self.complete = not message.get("more_body", False)
        if self.complete and not self._has_turn:
            await self._turns.take(self._receive)
            self._has_turn = True
        return message

    async def _in_time(self) -> Message:
        left = self._due - time.monotonic()
        try:
            return await asyncio.wait_for(self._receive(), max(0.0, left))
        except asyncio.TimeoutError:
            raise Refusal(_TOO_SLOW, "the request's body did not arrive in time") from None

    def _measure(self, data: bytes) -> None:
        self._due = min(self._due + len(data) / _SLOWEST, time.monotonic() + self._patience)
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit, self._word)
        self._turns.hold(len(data))
        self._held += len(data)
        if self._shape is not None:
            self._shape.feed(data)

    async def drain(self) -> None:
        """Take in what a client still sends, for a while: else it would not hear the answer."""
        if self.refused is not None and self.refused.status == _TOO_SLOW:
            return
        end, taken = time.monotonic() + _DRAIN_SECONDS, 0
        while not self.complete and taken < _DRAINED:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, end - time.monotonic()))
            except asyncio.TimeoutError:
                return
            if message["type"] != "http.request":
                return
            taken += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)

    def release(self) -> None:
        """End the request's turn, and account for its body no more."""
        self._turns.let_go(self._held)
        self._held = 0
        if self._has_turn:
            self._has_turn = False
            self._turns.give_back()
