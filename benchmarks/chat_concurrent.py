"""Eight requests at once: each raw engine and blazen on it, in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.apart import Apart, medians_in_turns
from benchmarks.blazen_models import Loaded
from benchmarks.raw_engines import LlamaCppPython, LowLevelLoop, MistralRs, XllamaCpp
from blazen.hardware import thread_budget

SUBJECTS = ("a storm", "a boat", "a heron", "a mill", "a fox", "a road", "a clock", "a garden")
PROMPTS = [f"Write a long story about {subject} and an old lighthouse." for subject in SUBJECTS]
TOKENS = 96
ROUNDS = 5


def run() -> dict[str, Any]:
    """Tokens a second of all requests together, prompts included."""
    threads, count = thread_budget(None), len(PROMPTS)
    eight = {"threads": threads, "parallel": count}
    with (
        Apart(LlamaCppPython, threads) as high,
        Apart(LowLevelLoop, threads, count) as bare,
        Apart(Loaded, "llamacpp", **eight) as ours,
    ):
        speeds = measure({"in_turn": high, "low_level_loop": bare, "blazen": ours})
        llamacpp = {
            "ratio_to_create_chat_completion": speeds["blazen"] / speeds["in_turn"],
            "ratio_to_low_level_loop": speeds["blazen"] / speeds["low_level_loop"],
            "tokens_per_second": speeds,
        }
    with Apart(XllamaCpp, threads, count) as raw, Apart(Loaded, "xllamacpp", **eight) as ours:
        xllamacpp = _against_raw(measure({"raw": raw, "blazen": ours}))
    # Asked for two answers at once on a CPU, mistral.rs by itself fails.
    with Apart(MistralRs) as raw, Apart(Loaded, "mistralrs", parallel=count) as ours:
        speeds = measure({"raw_in_turn": raw, "blazen": ours}, tokens=TOKENS // 4, rounds=3)
        mistralrs = {
            "ratio_to_raw_in_turn": speeds["blazen"] / speeds["raw_in_turn"],
            "tokens_per_second": speeds,
        }
    return {
        "llamacpp": llamacpp,
        "xllamacpp": xllamacpp,
        "mistralrs": mistralrs,
        "requests": count,
        "tokens_each": TOKENS,
        "tokens_each_mistralrs": TOKENS // 4,
        "rounds": ROUNDS,
        "threads": threads,
    }


def _against_raw(speeds: Mapping[str, float]) -> dict[str, Any]:
    return {"ratio": speeds["blazen"] / speeds["raw"], "tokens_per_second": speeds}


def measure(
    ways: Mapping[str, Apart], tokens: int = TOKENS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Ask the contestants in turns; give the median of each one's tokens a second."""

    def speed(name: str, way: Apart) -> float:
        method = "in_turn" if name.endswith("in_turn") else "together"
        began = time.perf_counter()
        made = way.ask(method, PROMPTS, tokens)
        return float(made) / (time.perf_counter() - began)

    return medians_in_turns(ways, speed, rounds, digits=1)
