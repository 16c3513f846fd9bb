"""How many threads a loaded model calculates with, which may change from step to step."""

from __future__ import annotations

from typing import Any

from blazen.checks import check_range
from blazen.hardware import thread_budget
from blazen_llamacpp.library import load_library


class Threads:
    """What a model may use: its own number, settled as it loads, or a smaller share of it.

    The thread that calculates looks at it before each step, so that whoever changes it waits for
    nothing, and no context is touched while it is at work.
    """

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self._most: int | None = None
        self._share: int | None = None

    @property
    def now(self) -> int:
        """How many there are from the next step on."""
        most = thread_budget(self._wanted) if self._most is None else self._most
        return most if self._share is None else min(most, self._share)

    def settle(self) -> int:
        """Take the budget of this moment as the model's own number, and give what counts now."""
        self._most = thread_budget(self._wanted)
        return self.now

    def share(self, threads: int) -> None:
        """Use at most so many from the next step on."""
        check_range("threads", threads, at_least=1, integer=True)
        self._share = threads

    def apply(self, context: Any) -> None:
        """Have a context use them. It only sets two numbers: it costs nothing to do each time."""
        now = self.now
        load_library().llama_set_n_threads(context, now, now)


class SharedThreads:
    """The part of a model that lets its threads be changed; ``_threads`` is made with the model."""

    _threads: Threads

    @property
    def threads(self) -> int:
        """How many threads calculate at once; before it is loaded, how many would."""
        return self._threads.now

    def share_threads(self, threads: int) -> None:
        """Use at most so many threads from the next step on; any thread may say so."""
        self._threads.share(threads)
