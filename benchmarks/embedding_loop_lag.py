"""How late the event loop comes while a model embeds."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.chat_loop_lag import _Ticker
from benchmarks.embedding_models import Blazen, mixed_texts
from blazen.hardware import thread_budget

TEXTS = 600
CALLS = 64


def run(count: int = TEXTS) -> dict[str, Any]:
    """A ticker asks for a turn every 2 ms; its lateness is the loop's lag."""
    threads = thread_budget(None)
    ours = Blazen(threads)
    texts = mixed_texts(count)
    try:
        ours.at_once(texts[:8])
        one_call = ours.run(_lag(ours.model.embed(texts)))
        many = ours.run(_lag(*map(ours.model.embed, texts[:CALLS])))
    finally:
        ours.close()
    return {"one_call": one_call, "calls_at_once": many, "texts": count, "threads": threads}


async def _lag(*work: Any) -> dict[str, float]:
    ticker = _Ticker()
    task = asyncio.create_task(ticker.run())
    await asyncio.gather(*work)
    task.cancel()
    return ticker.figures()
