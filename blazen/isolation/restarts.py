"""How soon a worker process that crashed is started again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from blazen.bridge import Job
from blazen.errors import BackendCrashedError, LoadError

_FIRST = 0.1
_LONGEST = 10.0
_REST = 30.0
"""How long one that crashes again and again is left alone."""


class Restarts:
    """Counts crashes in a row: each doubles the pause, and too many are a reason to rest."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._crashes = 0
        self._last = 0.0

    def crashed(self) -> None:
        """Note a crash."""
        with self._lock:
            self._crashes += 1
            self._last = self._clock()

    def worked(self) -> None:
        """Note a request that was answered: what crashed before is over."""
        self._crashes = 0

    def wait(self, title: str, job: Job, stopped: threading.Event) -> None:
        """Wait as long as it has to before it is started, or raise: it rests, or was stopped."""
        job.on_cancel(stopped.set)
        rest = self.rest()
        if rest:
            raise BackendCrashedError(
                f"{title} has crashed {self._most + 1} times in a row: it is not started again "
                f"for {rest:.0f} s"
            )
        pause = self.pause()
        if pause and stopped.wait(pause):
            raise LoadError(f"{title}: loading was stopped")

    def pause(self) -> float:
        """Give the seconds to wait before it is started."""
        with self._lock:
            # The first crash in a row costs no pause: whoever asks next should not notice it.
            pause = 0.0 if self._crashes < 2 else min(_LONGEST, _FIRST * 2 ** (self._crashes - 2))
            return max(0.0, self._last + pause - self._clock()) if self._crashes else 0.0

    def rest(self) -> float:
        """Give the seconds for which it is not started at all; 0 when it may be."""
        with self._lock:
            if self._crashes <= self._most:
                return 0.0
            return max(0.0, self._last + _REST - self._clock())
