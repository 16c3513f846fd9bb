"""Models whose memory is only a number, and one sequence of requests for them.

What a manager does with them is written down by the models themselves, so that its own account is
not what it is judged by.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

GIB = 2**30
SIZES = [size * GIB for size in (6, 2, 9, 1, 4, 12, 3, 7, 2, 5, 1, 8, 3, 10, 2, 4, 6, 1, 5, 3)]
BUDGET = sum(SIZES) // GIB // 3 * GIB
TASKS = 8
REQUESTS = 400
LOAD_SECONDS = 0.005
REQUEST_SECONDS = 0.001
DEADLINE_SECONDS = 120.0


def requests() -> list[int]:
    """Give the number of the model that each request asks for: Zipf, the same in every run."""
    weights = [1 / rank for rank in range(1, len(SIZES) + 1)]
    return random.Random(4).choices(range(len(SIZES)), weights, k=REQUESTS)


class Ledger:
    """What really happened, in memory that the models of several processes share."""

    NAMES = ("resident", "peak", "loads", "unloads", "double_loads", "used_after_unload")

    def __init__(self) -> None:
        self._counts = multiprocessing.Array("q", len(self.NAMES))
        self._present = multiprocessing.Array("q", len(SIZES), lock=False)

    def loading(self, number: int) -> None:
        """A load begins; there must be none of the same model, done or under way."""
        with self._counts.get_lock():
            if self._present[number]:
                self._add("double_loads", 1)
            self._present[number] += 1

    def loaded(self, number: int) -> None:
        with self._counts.get_lock():
            self._add("loads", 1)
            resident = self._add("resident", SIZES[number])
            peak = self.NAMES.index("peak")
            self._counts[peak] = max(self._counts[peak], resident)

    def unloaded(self, number: int) -> None:
        with self._counts.get_lock():
            self._add("unloads", 1)
            self._add("resident", -SIZES[number])
            self._present[number] -= 1

    def used_after_unload(self) -> None:
        with self._counts.get_lock():
            self._add("used_after_unload", 1)

    @property
    def resident(self) -> int:
        """The bytes that all models hold now."""
        return int(self._counts[0])

    def figures(self) -> dict[str, int]:
        with self._counts.get_lock():
            return dict(zip(self.NAMES, self._counts[:], strict=True))

    def _add(self, name: str, value: int) -> int:
        at = self.NAMES.index(name)
        self._counts[at] += value
        return int(self._counts[at])


class Weights:
    """One model's memory."""

    def __init__(self, number: int, ledger: Ledger) -> None:
        self.number = number
        self.loads = 0
        self.is_loaded = False
        self._ledger = ledger

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """What goes on within takes the time that a load takes."""
        self._ledger.loading(self.number)
        yield
        self.loads += 1
        self.is_loaded = True
        self._ledger.loaded(self.number)

    def unload(self) -> None:
        if self.is_loaded:
            self.is_loaded = False
            self._ledger.unloaded(self.number)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """A request, which must see the same load from its start to its end."""
        at_start = self.is_loaded and self.loads
        yield
        if not at_start or not self.is_loaded or self.loads != at_start:
            self._ledger.used_after_unload()


def answer(model: int, request: int) -> float:
    """Say what this model answers to this request."""
    return float(model * 1000 + request)


@dataclass
class Outcome:
    """How the requests of a run ended."""

    answered: int = 0
    wrong: int = 0
    failed: int = 0
    seconds: float = 0.0
    first_error: str = ""
    lock: Any = field(default_factory=threading.Lock)

    def judge(self, model: int, request: int, said: object) -> None:
        with self.lock:
            if isinstance(said, BaseException):
                self.failed += 1
                self.first_error = self.first_error or f"{type(said).__name__}: {said}"
            elif said == answer(model, request):
                self.answered += 1
            else:
                self.wrong += 1

    def figures(self, ledger: dict[str, int]) -> dict[str, Any]:
        """Give it with what the models saw meanwhile."""
        ended = self.answered + self.wrong + self.failed
        return {
            "answered": self.answered,
            "wrong": self.wrong,
            "failed": self.failed,
            "unanswered": REQUESTS - ended,
            "loads": ledger["loads"],
            "evictions": ledger["unloads"],
            "double_loads": ledger["double_loads"],
            "used_after_unload": ledger["used_after_unload"],
            "peak_gib": ledger["peak"] / GIB,
            "requests_per_second": self.answered / self.seconds,
            "first_error": self.first_error,
        }


def ask_from_threads(ask: Callable[[int, int], float]) -> Outcome:
    """Ask for the whole sequence from eight threads, which take the next request in turns."""
    outcome, waiting, lock = Outcome(), iter(enumerate(requests())), threading.Lock()
    began = time.perf_counter()

    def work() -> None:
        while time.perf_counter() - began < DEADLINE_SECONDS:
            with lock:
                request, model = next(waiting, (0, -1))
            if model < 0:
                return
            try:
                said: object = ask(model, request)
            except Exception as error:
                said = error
            outcome.judge(model, request, said)

    # Daemons, since a request that is never answered must not hold up the others' figures.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(TASKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, DEADLINE_SECONDS + 10 - (time.perf_counter() - began)))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def ask_from_tasks(ask: Callable[[int, int], Awaitable[float]]) -> Outcome:
    """Ask for the whole sequence from eight tasks, which take the next request in turns."""
    outcome, waiting = Outcome(), iter(enumerate(requests()))
    began = time.perf_counter()

    async def work() -> None:
        for request, model in waiting:
            left = DEADLINE_SECONDS - (time.perf_counter() - began)
            try:
                said: object = await asyncio.wait_for(ask(model, request), left)
            except Exception as error:
                said = error
            outcome.judge(model, request, said)

    await asyncio.gather(*(work() for _ in range(TASKS)))
    outcome.seconds = time.perf_counter() - began
    return outcome
