"""How late the event loop comes while an engine writes."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks import blazen_models as ours
from benchmarks.loop_lag import lag_during
from blazen import CompletionOptions
from blazen.hardware import thread_budget

TOKENS = 192


def run() -> dict[str, Any]:
    """The loop's lag with nothing to do, and with four requests of each engine."""
    threads = thread_budget(None)
    figures: dict[str, Any] = {"nothing_running": asyncio.run(lag_during(asyncio.sleep(5)))}
    for backend, settings in (
        ("llamacpp", {"threads": threads}),
        ("xllamacpp", {"threads": threads, "parallel": 4}),
        ("mistralrs", {}),
    ):
        with ours.loaded(backend, **settings) as mine:
            mine.answer("Hello", 4)
            figures[backend] = mine.run(_lag(mine.model, TOKENS if settings else 32))
    return {**figures, "requests": 4, "tokens_each": TOKENS, "threads": threads}


async def _lag(model: Any, tokens: int) -> dict[str, float]:
    options = CompletionOptions(max_tokens=tokens, temperature=0)

    async def one(number: int) -> None:
        async for _ in model.complete_stream(f"{number}. Write a long story.", options):
            pass

    return await lag_during(*map(one, range(4)))
