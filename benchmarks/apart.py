"""Contestants in processes of their own, asked in turns.

In one process they would slow each other down: OpenMP, which llama.cpp computes with, lets threads
sleep at each barrier as soon as a process has more of them than the machine has cores.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_engines: list[Any] = []


class Apart(AbstractContextManager["Apart"]):
    """An engine in a process of its own; its methods are asked by name."""

    def __init__(self, make: Callable[..., Any], *args: Any, **settings: Any) -> None:
        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_open, initargs=(make, args, settings)
        )

    def ask(self, method: str, *args: Any) -> Any:
        """Call a method there and give what it gives."""
        return self._pool.submit(_ask, method, args).result()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.submit(_ask, "close", ()).result()
        self._pool.shutdown()


def medians_in_turns(
    ways: Mapping[str, T], measure: Callable[[str, T], float], rounds: int, digits: int = 4
) -> dict[str, float]:
    """Measure all in turns; whoever begins changes each time. Give the median of each one's."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways.items())
    for number in range(rounds + 1):
        for name, way in order if number % 2 else reversed(order):
            figure = measure(name, way)
            if number:  # the first round warms up
                figures[name].append(figure)
    print({n: [round(v, digits) for v in values] for n, values in figures.items()}, file=sys.stderr)
    return {name: statistics.median(values) for name, values in figures.items()}


def _open(make: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    _engines.append(make(*args, **settings))


def _ask(method: str, args: tuple[Any, ...]) -> Any:
    return getattr(_engines[0], method)(*args)
