"""What a model pays for a process of its own: in process and isolated, in turns."""

from __future__ import annotations

from typing import Any

from benchmarks.apart import Apart, medians_in_turns
from benchmarks.blazen_models import Loaded
from benchmarks.chat_decode import compare
from benchmarks.isolation_models import Cycles, Tokens, Vectors
from blazen.hardware import thread_budget
from blazen.options.isolation import Isolation

TOKENS = 20_000
PACED_TOKENS = 1_000
PACE = 0.002
EMBEDDINGS = 10_000
CYCLES = 20
REST = 3.0
TOKEN_BUDGET_US = 60.0
DECODE_FLOOR = 0.97
EMBEDDING_FLOOR = 0.95
SPARE_BUDGET_MS = 50.0
GROWTH_BUDGET_MB = 5.0


def run() -> dict[str, Any]:
    """Tokens, vectors, the first request, and what is left after many models."""
    return {
        "token": _token(),
        "decode": _decode(),
        "embedding": _embedding(),
        "first_request": _first_request(),
        "memory": _memory(),
        "threads": thread_budget(None),
    }


def _token() -> dict[str, float]:
    """What a token pays where the engine costs nothing, and how much later one of many comes."""
    with Apart(Tokens, 0.0, apart=False) as here, Apart(Tokens, 0.0, apart=True) as there:
        each = medians_in_turns(
            {"here": here, "there": there}, lambda _, way: float(way.ask("each", TOKENS)), 9
        )
    with Apart(Tokens, PACE, apart=False) as here, Apart(Tokens, PACE, apart=True) as there:
        later = medians_in_turns(
            {"here": here, "there": there}, lambda _, way: float(way.ask("later", PACED_TOKENS)), 9
        )
    more, wait = each["there"] - each["here"], later["there"] - later["here"]
    return {
        "over_in_process_us": more,
        "ratio_to_budget": more / TOKEN_BUDGET_US,
        "later_than_in_process_us": wait,
        "later_ratio_to_budget": wait / TOKEN_BUDGET_US,
        "in_process_us": each["here"],
        "isolated_us": each["there"],
        "from_engine_to_reader_in_process_us": later["here"],
        "from_engine_to_reader_isolated_us": later["there"],
        "budget_us": TOKEN_BUDGET_US,
    }


def _decode() -> dict[str, Any]:
    """Tokens a second of the fastest starter model."""
    settings = {"threads": thread_budget(None), "parallel": 1}
    found: dict[str, Any] = {"floor": DECODE_FLOOR}
    for backend in ("llamacpp", "xllamacpp"):
        with (
            Apart(Loaded, backend, **settings) as here,
            Apart(Loaded, backend, **settings, isolation="process") as there,
        ):
            speeds = compare(here, there)
        found[backend] = {
            "ratio": speeds["ratio"],
            "in_process_tokens_per_second": speeds["raw_tokens_per_second"],
            "isolated_tokens_per_second": speeds["blazen_tokens_per_second"],
        }
    return found


def _embedding() -> dict[str, float]:
    """Seconds of one call with many texts."""
    threads = thread_budget(None)
    with Apart(Vectors, threads, None) as here, Apart(Vectors, threads, "process") as there:
        seconds = medians_in_turns(
            {"here": here, "there": there}, lambda _, way: float(way.ask("embed", EMBEDDINGS)), 5
        )
    return {
        "ratio": seconds["here"] / seconds["there"],
        "in_process_seconds": seconds["here"],
        "isolated_seconds": seconds["there"],
        "texts": EMBEDDINGS,
        "floor": EMBEDDING_FLOOR,
    }


def _first_request() -> dict[str, float]:
    """Milliseconds until a new model has answered, where its engine was used before."""
    spec, settings = "llamacpp:starter:chat", {"threads": 1, "device": "cpu"}
    with (
        Apart(Cycles, spec, None, **settings) as here,
        Apart(Cycles, spec, Isolation(), **settings) as cold,
        Apart(Cycles, spec, Isolation(spare=True), **settings) as warm,
    ):
        seconds = medians_in_turns(
            {"here": here, "cold": cold, "warm": warm},
            lambda name, way: float(way.ask("first", REST if name == "warm" else 0.0)),
            7,
        )
    later = (seconds["warm"] - seconds["here"]) * 1e3
    return {
        "later_with_a_spare_ms": later,
        "ratio_to_budget": later / SPARE_BUDGET_MS,
        "later_without_ms": (seconds["cold"] - seconds["here"]) * 1e3,
        "in_process_ms": seconds["here"] * 1e3,
        "budget_ms": SPARE_BUDGET_MS,
    }


def _memory() -> dict[str, float]:
    """By how much this side grows with many loads of an engine that gives back a part only."""
    settings = {"threads": 1, "device": "cpu", "context_length": 512}
    grown = {}
    for name, isolation in (("in_process", None), ("isolated", Isolation())):
        with Apart(Cycles, "mistralrs:starter:chat", isolation, **settings) as way:
            grown[name] = float(way.ask("grown", CYCLES))
    return {
        "isolated_grows_mb": grown["isolated"],
        "in_process_grows_mb": grown["in_process"],
        "ratio_to_budget": grown["isolated"] / GROWTH_BUDGET_MB,
        "cycles": CYCLES,
        "budget_mb": GROWTH_BUDGET_MB,
    }
