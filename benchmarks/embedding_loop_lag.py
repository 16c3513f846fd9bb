"""How late the event loop comes while a model embeds."""

from __future__ import annotations

from typing import Any

from benchmarks.embedding_models import Blazen, mixed_texts
from benchmarks.loop_lag import lag_during
from blazen.hardware import thread_budget

TEXTS = 600
CALLS = 64


def run(count: int = TEXTS) -> dict[str, Any]:
    """The loop's lag during one call of many texts, and during many calls of one text each."""
    threads = thread_budget(None)
    ours = Blazen(threads)
    texts = mixed_texts(count)
    try:
        ours.at_once(texts[:8])
        one_call = ours.run(lag_during(ours.model.embed(texts)))
        many = ours.run(lag_during(*map(ours.model.embed, texts[:CALLS])))
    finally:
        ours.close()
    return {"one_call": one_call, "calls_at_once": many, "texts": count, "threads": threads}
