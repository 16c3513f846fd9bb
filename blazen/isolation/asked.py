"""A request to a worker process, seen from here."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Request:
    """One request that is under way."""

    def __init__(
        self, number: int, heard: Callable[[str, Any], None] | None, in_pieces: bool
    ) -> None:
        self.number = number
        self.in_pieces = in_pieces
        """Whether its answer comes in pieces: then something comes of it all the time."""
        self.future: Future[Any] = Future()
        self.heard = heard
        """Told of what comes before the end; runs on the worker's own thread, and must not wait."""
        self.cancelled_at: float | None = None
        self.last = time.monotonic()
        self.waits_for: set[str] = set()
        """What it waits for on this side: then it is no fault of the worker that nothing comes."""
        self.unread: Exception | None = None
        """Why a piece of its answer could not be read."""

    def go_on(self, reason: str) -> None:
        """Hear that what it has waited for on this side is there."""
        self.last = time.monotonic()
        self.waits_for.discard(reason)
