"""How late the event loop comes while an engine writes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks import blazen_models as ours
from blazen import CompletionOptions
from blazen.hardware import thread_budget

PERIOD = 0.002
TOKENS = 192


def run() -> dict[str, Any]:
    """A ticker asks for a turn every 2 ms; its lateness is the loop's lag."""
    threads = thread_budget(None)
    figures: dict[str, Any] = {"nothing_running": asyncio.run(_idle())}
    for backend, settings in (
        ("llamacpp", {"threads": threads}),
        ("xllamacpp", {"threads": threads, "parallel": 4}),
        ("mistralrs", {}),
    ):
        with ours.loaded(backend, **settings) as mine:
            mine.answer("Hello", 4)
            figures[backend] = mine.run(_lag(mine.model, TOKENS if settings else 32))
    return {**figures, "requests": 4, "tokens_each": TOKENS, "threads": threads}


async def _idle() -> dict[str, float]:
    ticker = _Ticker()
    task = asyncio.create_task(ticker.run())
    await asyncio.sleep(5)
    task.cancel()
    return ticker.figures()


async def _lag(model: Any, tokens: int) -> dict[str, float]:
    options = CompletionOptions(max_tokens=tokens, temperature=0)
    ticker = _Ticker()
    task = asyncio.create_task(ticker.run())

    async def one(number: int) -> None:
        async for _ in model.complete_stream(f"{number}. Write a long story.", options):
            pass

    await asyncio.gather(*map(one, range(4)))
    task.cancel()
    return ticker.figures()


class _Ticker:
    def __init__(self) -> None:
        self._late: list[float] = []

    async def run(self) -> None:
        while True:
            due = time.perf_counter() + PERIOD
            await asyncio.sleep(PERIOD)
            self._late.append(max(0.0, time.perf_counter() - due) * 1000)

    def figures(self) -> dict[str, float]:
        late = sorted(self._late)
        return {
            "p50_ms": late[len(late) // 2],
            "p99_ms": late[int(len(late) * 0.99)],
            "maximum_ms": late[-1],
            "ticks": len(late),
        }
