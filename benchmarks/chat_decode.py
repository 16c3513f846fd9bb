"""Decode throughput of one request: each raw engine and blazen on it, in turns."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks import blazen_models as ours
from benchmarks import raw_engines as raw
from blazen.hardware import thread_budget

PROMPT = "Write a long story about a lighthouse, a storm and a very old boat."
TOKENS = 128
ROUNDS = 9


def run() -> dict[str, Any]:
    """Tokens a second from the first token to the last."""
    threads = thread_budget(None)
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        high = stack.enter_context(raw.closing(raw.LlamaCppPython(threads)))
        mine = stack.enter_context(ours.loaded("llamacpp", threads=threads, parallel=1))
        figures["llamacpp"] = compare(lambda: high.answer(PROMPT, TOKENS), mine.answer)
    with ExitStack() as stack:
        server = stack.enter_context(raw.closing(raw.XllamaCpp(threads)))
        mine = stack.enter_context(ours.loaded("xllamacpp", threads=threads))
        figures["xllamacpp"] = compare(lambda: server.answer(PROMPT, TOKENS), mine.answer)
    with ExitStack() as stack:
        runner = stack.enter_context(raw.closing(raw.MistralRs()))
        mine = stack.enter_context(ours.loaded("mistralrs", parallel=1))
        figures["mistralrs"] = compare(lambda: runner.answer(PROMPT, TOKENS), mine.answer, rounds=3)
    return {**figures, "tokens": TOKENS, "rounds": ROUNDS, "threads": threads}


def compare(
    theirs: Callable[[], raw.Moments],
    mine: Callable[[str, int], raw.Moments],
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Let both answer in turns; whoever begins changes each time."""
    speeds: dict[str, list[float]] = {"raw": [], "blazen": []}
    for number in range(rounds + 1):
        ways = [("raw", theirs), ("blazen", lambda: mine(PROMPT, TOKENS))]
        for name, way in ways if number % 2 else reversed(ways):
            moments = way()
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
