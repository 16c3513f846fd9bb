"""The time that a request may take."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from blazen.checks import check_range
from blazen.errors import TimeoutError  # noqa: A004 - the name that users expect
from blazen.types.record import Settings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Timeouts(Settings):
    """How long each part of a request may take, in seconds."""

    connect: float = 10.0
    idle: float = 120.0
    """How long the server may be silent, and how long it may take to accept what is sent."""
    total: float = 900.0
    """How long the whole may take, with all pauses and repetitions."""

    def __post_init__(self) -> None:
        for name in ("connect", "idle", "total"):
            check_range(f"timeouts.{name}", getattr(self, name), at_least=0.001)


class Deadline:
    """The moment at which a request counts as failed, however lively the server is."""

    def __init__(self, seconds: float, *, what: str) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self.what = what
        """What an error says took too long."""

    def left(self) -> float:
        """Give the seconds that are left, 0 at the least."""
        return max(0.0, self._end - time.monotonic())

    async def wait(self, step: Awaitable[T]) -> T:
        """Await one step; when the time is up the step is cancelled."""
        # anyio comes with httpx2. Unlike asyncio.wait_for it loses no result to a race, and unlike
        # asyncio.timeout it is there on Python 3.10.
        import anyio

        with anyio.move_on_after(self.left()):
            return await step
        raise self.passed()

    async def pause(self, seconds: float) -> None:
        """Do nothing for a while; what lasts beyond the deadline is not begun."""
        import asyncio

        if seconds >= self.left():
            raise self.passed()
        await asyncio.sleep(seconds)

    def passed(self) -> TimeoutError:
        """Give the error for what is not there in time."""
        return TimeoutError(
            f"{self.what} takes longer than the {self._seconds:g} s that it may take in all: "
            "raise timeouts.total, or ask for less"
        )
