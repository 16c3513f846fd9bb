"""Decode throughput of one request: each raw engine and blazen on it, in turns."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from benchmarks.apart import Apart
from benchmarks.blazen_models import Loaded
from benchmarks.raw_engines import LlamaCppPython, MistralRs, XllamaCpp
from blazen.hardware import thread_budget

PROMPT = "Write a long story about a lighthouse, a storm and a very old boat."
TOKENS = 128
ROUNDS = 11


def run() -> dict[str, Any]:
    """Tokens a second from the first token to the last."""
    threads = thread_budget(None)
    one = {"threads": threads, "parallel": 1}
    with Apart(LlamaCppPython, threads) as raw, Apart(Loaded, "llamacpp", **one) as ours:
        llamacpp = compare(raw, ours)
    with Apart(XllamaCpp, threads) as raw, Apart(Loaded, "xllamacpp", **one) as ours:
        xllamacpp = compare(raw, ours)
    with Apart(MistralRs) as raw, Apart(Loaded, "mistralrs", parallel=1) as ours:
        mistralrs = compare(raw, ours, rounds=3)
    return {
        "llamacpp": llamacpp,
        "xllamacpp": xllamacpp,
        "mistralrs": mistralrs,
        "tokens": TOKENS,
        "rounds": ROUNDS,
        "threads": threads,
    }


def compare(raw: Apart, ours: Apart, rounds: int = ROUNDS) -> dict[str, float]:
    """Let both answer in turns; whoever begins changes each time."""
    speeds: dict[str, list[float]] = {"raw": [], "blazen": []}
    for number in range(rounds + 1):
        ways = [("raw", raw), ("blazen", ours)]
        for name, way in ways if number % 2 else reversed(ways):
            moments = way.ask("answer", PROMPT, TOKENS)
            assert len(moments) > TOKENS * 0.9, f"{name} gave {len(moments)} pieces"
            if number:  # the first round warms up
                speeds[name].append((len(moments) - 1) / (moments[-1] - moments[0]))
    print({name: [round(v, 1) for v in values] for name, values in speeds.items()}, file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return {
        "ratio": medians["blazen"] / medians["raw"],
        "raw_tokens_per_second": medians["raw"],
        "blazen_tokens_per_second": medians["blazen"],
    }
