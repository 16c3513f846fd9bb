"""Contestants in processes of their own, asked in turns.

In one process they would slow each other down: OpenMP, which llama.cpp computes with, lets threads
sleep at each barrier as soon as a process has more of them than the machine has cores.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from types import TracebackType
from typing import Any

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


def _open(make: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    _engines.append(make(*args, **settings))


def _ask(method: str, args: tuple[Any, ...]) -> Any:
    return getattr(_engines[0], method)(*args)
