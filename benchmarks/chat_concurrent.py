"""Eight requests at once: each raw engine and blazen on it, in turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks import blazen_models as ours
from benchmarks import raw_engines as raw
from blazen.hardware import thread_budget

SUBJECTS = ("a storm", "a boat", "a heron", "a mill", "a fox", "a road", "a clock", "a garden")
PROMPTS = [f"Write a long story about {subject} and an old lighthouse." for subject in SUBJECTS]
TOKENS = 96
ROUNDS = 5


def run() -> dict[str, Any]:
    """Tokens a second of all requests together, prompts included."""
    threads = thread_budget(None)
    count = len(PROMPTS)
    with ExitStack() as stack:
        high = stack.enter_context(raw.closing(raw.LlamaCppPython(threads)))
        bare = stack.enter_context(raw.closing(raw.LowLevelLoop(threads, count)))
        mine = stack.enter_context(ours.loaded("llamacpp", threads=threads, parallel=count))
        speeds = measure(
            {
                "create_chat_completion_in_turn": lambda: high.in_turn(PROMPTS, TOKENS),
                "low_level_loop": lambda: bare.together(PROMPTS, TOKENS),
                "blazen": lambda: mine.together(PROMPTS, TOKENS),
            }
        )
    figures: dict[str, Any] = {
        "llamacpp": {
            "ratio_to_create_chat_completion": speeds["blazen"]
            / speeds["create_chat_completion_in_turn"],
            "ratio_to_low_level_loop": speeds["blazen"] / speeds["low_level_loop"],
            "tokens_per_second": speeds,
        }
    }
    with ExitStack() as stack:
        server = stack.enter_context(raw.closing(raw.XllamaCpp(threads, count)))
        mine = stack.enter_context(ours.loaded("xllamacpp", threads=threads, parallel=count))
        speeds = measure(
            {
                "raw": lambda: server.together(PROMPTS, TOKENS),
                "blazen": lambda: mine.together(PROMPTS, TOKENS),
            }
        )
    figures["xllamacpp"] = {"ratio": speeds["blazen"] / speeds["raw"], "tokens_per_second": speeds}
    with ExitStack() as stack:
        runner = stack.enter_context(raw.closing(raw.MistralRs()))
        mine = stack.enter_context(ours.loaded("mistralrs", parallel=count))
        speeds = measure(
            {
                "raw": lambda: runner.together(PROMPTS, TOKENS // 4),
                "blazen": lambda: mine.together(PROMPTS, TOKENS // 4),
            },
            rounds=3,
        )
    figures["mistralrs"] = {"ratio": speeds["blazen"] / speeds["raw"], "tokens_per_second": speeds}
    return {
        **figures,
        "requests": count,
        "tokens_each": TOKENS,
        "rounds": ROUNDS,
        "threads": threads,
    }


def measure(ways: Mapping[str, Callable[[], int]], rounds: int = ROUNDS) -> dict[str, float]:
    """Run the ways in turns; give the median of each one's tokens a second."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items() if number % 2 else reversed(list(ways.items())):
            began = time.perf_counter()
            tokens = way()
            took = time.perf_counter() - began
            if number:  # the first round warms up
                speeds[name].append(tokens / took)
    print({name: [round(v, 1) for v in values] for name, values in speeds.items()}, file=sys.stderr)
    return {name: statistics.median(values) for name, values in speeds.items()}
