"""Many texts of mixed length: raw fastembed at its default batch size, one by one, and blazen."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from benchmarks.apart import Apart
from benchmarks.embedding_models import Blazen, RawFastEmbed, mixed_texts
from blazen.hardware import thread_budget

TEXTS = 2000
ROUNDS = 3
DEFAULT_ROUNDS = 1  # it takes minutes, and what it loses by is far above any noise


def run(count: int = TEXTS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds for all of them; the ratios say how many times faster blazen is."""
    texts, threads = mixed_texts(count), thread_budget(None)
    with Apart(RawFastEmbed, threads) as raw, Apart(Blazen, threads) as ours:
        ways = {
            "raw_default": (raw, "at_default"),
            "raw_one_by_one": (raw, "one_by_one"),
            "blazen": (ours, "at_once"),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for way, method in ways.values():
            way.ask(method, texts[: min(count, 64)])  # to warm up
        for number in range(rounds):
            for name, (way, method) in sorted(ways.items(), reverse=bool(number % 2)):
                if name != "raw_default" or number < DEFAULT_ROUNDS:
                    took[name].append(way.ask(method, texts))
    print({name: [round(v, 2) for v in values] for name, values in took.items()}, file=sys.stderr)
    seconds = {name: statistics.median(values) for name, values in took.items()}
    return {
        "ratio_to_raw_at_its_default": seconds["raw_default"] / seconds["blazen"],
        "ratio_to_raw_one_by_one": seconds["raw_one_by_one"] / seconds["blazen"],
        "seconds": seconds,
        "texts": count,
        "words": sum(len(text.split()) for text in texts),
        "rounds": rounds,
        "rounds_at_raw_default": min(rounds, DEFAULT_ROUNDS),
        "threads": threads,
    }
