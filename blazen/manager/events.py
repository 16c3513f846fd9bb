"""What happens in a manager, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from blazen.manager.pools import write_amounts
from blazen.types.record import Record

log = logging.getLogger("blazen.manager")

KEPT_EVENTS = 10_000
"""How many events wait for a listener that does not keep up; then the oldest are dropped."""


class EventKind(str, Enum):
    """What an event tells of."""

    Registered = "registered"
    Unregistered = "unregistered"
    Adjusted = "adjusted"
    """What holds it in memory was changed: ``detail`` says to what."""
    Waiting = "waiting"
    """A request waits: for room, for a load, or for its turn."""
    Loading = "loading"
    Loaded = "loaded"
    """``seconds`` is how long it took, ``bytes`` what the model holds."""
    LoadFailed = "load_failed"
    Retrying = "retrying"
    """A load ran out of memory: others go, and it is tried once more."""
    Evicting = "evicting"
    """It goes to make room; ``by`` is the model that needs it."""
    Unloading = "unloading"
    Unloaded = "unloaded"
    UnloadFailed = "unload_failed"
    Crashed = "crashed"
    """Its worker process is gone, and the memory back: ``detail`` says how it ended."""
    Restoring = "restoring"
    """It went for a model that then failed to load, and is brought back."""
    Quarantined = "quarantined"
    """``bytes`` did not come back when it was unloaded."""
    Reclaimed = "reclaimed"
    """``bytes`` came back late."""
    Mismatch = "mismatch"
    """It takes far more or less than was declared: ``detail`` has both numbers."""
    Thrashing = "thrashing"
    """It keeps coming back soon after it went: the pool is too small for what is asked of it."""
    Spilled = "spilled"
    """A request went to another model: ``by`` names it and ``detail`` says why."""
    Refused = "refused"
    """A request could not be served: ``detail`` says why."""


@dataclass(frozen=True)
class Event(Record):
    """One thing that happened."""

    kind: EventKind
    id: str
    """The model that it is about."""
    at: float
    """When, in seconds since the epoch."""
    by: str = ""
    detail: str = ""
    seconds: float | None = None
    bytes: dict[str, int] = field(default_factory=dict)


_SMALL = 64 << 20
"""What an engine's libraries may keep for good without a warning."""

_LOUD = {
    EventKind.Mismatch,
    EventKind.Thrashing,
    EventKind.Quarantined,
    EventKind.UnloadFailed,
    EventKind.Retrying,
    EventKind.Spilled,
}


class EventHub:
    """Hands events on to whoever listens, on whichever loop."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def tell(self, kind: EventKind, id: str, **facts: Any) -> None:  # noqa: A002
        """Hand an event on; it takes no lock and waits for nobody."""
        small = kind is EventKind.Quarantined and sum(facts["bytes"].values()) < _SMALL
        if kind in _LOUD and not small:
            words = facts.get("detail") or write_amounts(facts.get("bytes", {}))
            log.warning("%s: %s: %s", id, kind.value, words)
        if self._listeners:
            event = Event(kind, id, time.time(), **facts)
            for listener in tuple(self._listeners):
                listener(event)

    def add(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Have a function called with each event, which must not wait; the result ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def listen(self) -> AsyncIterator[Event]:
        """Give what happens from now on, one by one."""
        return _Listening(self)


class _Listening:
    """One who listens, until it is dropped or closed."""

    def __init__(self, hub: EventHub) -> None:
        self._ear = _Ear()
        self._end = hub.add(self._ear)

    def __aiter__(self) -> _Listening:
        return self

    async def __anext__(self) -> Event:
        return await self._ear.next()

    async def aclose(self) -> None:
        """Listen no more."""
        with contextlib.suppress(ValueError):
            self._end()

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):
            self._end()


class _Ear:
    """What the hub keeps of a listener: not the listener itself, whose end it would never see."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __call__(self, event: Event) -> None:
        self._events.append(event)
        waiting = self._waiting
        if waiting is not None:
            loop, more = waiting
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(more.set)

    async def next(self) -> Event:
        """Wait for the next event, on whichever loop asks."""
        more = asyncio.Event()
        self._waiting = (asyncio.get_running_loop(), more)
        while not self._events:
            more.clear()
            await more.wait()
        return self._events.popleft()
