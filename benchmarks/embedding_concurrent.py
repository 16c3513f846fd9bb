"""Calls of one text each, all at once: blazen gathers them; raw fastembed takes one by one."""

from __future__ import annotations

from typing import Any

from benchmarks.apart import Apart, medians_in_turns
from benchmarks.embedding_models import Blazen, RawFastEmbed, mixed_texts
from blazen.hardware import thread_budget

CALLS = 64
ROUNDS = 9


def run(calls: int = CALLS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds for all calls; the ratios say how many times faster blazen is."""
    threads = thread_budget(None)
    kinds = {"mixed": mixed_texts(calls), "queries": mixed_texts(calls, median=5, spread=0.4)}
    figures: dict[str, Any] = {}
    with Apart(RawFastEmbed, threads) as raw, Apart(Blazen, threads) as ours:
        ways = {
            "raw_one_by_one": (raw, "one_by_one"),
            "blazen_one_by_one": (ours, "one_by_one"),
            "blazen_together": (ours, "together"),
        }
        for kind, texts in kinds.items():

            def seconds(name: str, way: tuple[Apart, str], texts: list[str] = texts) -> float:
                contestant, method = way
                return float(contestant.ask(method, texts))

            medians = medians_in_turns(ways, seconds, rounds)
            figures[kind] = {
                "ratio": medians["raw_one_by_one"] / medians["blazen_together"],
                "ratio_of_one_by_one": medians["raw_one_by_one"] / medians["blazen_one_by_one"],
                "seconds": medians,
            }
    return {**figures, "calls": calls, "rounds": rounds, "threads": threads}
