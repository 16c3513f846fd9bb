"""Decode throughput of one request: each raw engine and blazen on it, in turns."""

from __future__ import annotations

from typing import Any

from benchmarks.apart import Apart, medians_in_turns
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
    """Let both answer in turns."""

    def speed(name: str, way: Apart) -> float:
        moments = way.ask("answer", PROMPT, TOKENS)
        assert len(moments) > TOKENS * 0.9, f"{name} gave {len(moments)} pieces"
        return (len(moments) - 1) / float(moments[-1] - moments[0])

    medians = medians_in_turns({"raw": raw, "blazen": ours}, speed, rounds, digits=1)
    return {
        "ratio": medians["blazen"] / medians["raw"],
        "raw_tokens_per_second": medians["raw"],
        "blazen_tokens_per_second": medians["blazen"],
    }
