"""The same sequence of requests, answered by blazen's manager and by those of others.

Twenty models in a pool for a third of them, 400 requests from eight tasks. The models are fakes
that write down what is done to them: `benchmarks.fake_models`.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.apart import Apart
from benchmarks.fake_models import (
    BUDGET,
    GIB,
    LOAD_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    SIZES,
    TASKS,
    Ledger,
    Weights,
    answer,
    ask_from_tasks,
)
from benchmarks.peer_managers import RayServe, Vramd, Vramen, missing, version
from blazen.types.embedding import EmbeddingResponse, Vectors

ROUNDS = 3
HOT = 2000
# The worst round counts, and of the rest the median.
WORST = ("wrong", "failed", "unanswered", "double_loads", "used_after_unload", "peak_gib")


def run() -> dict[str, Any]:
    """Each in a process of its own, in turns; what is not installed is named and left out."""
    # A count that holds the largest models, and one that holds as many as fit on the average.
    safe = max(n for n in range(len(SIZES)) if sum(sorted(SIZES, reverse=True)[:n]) <= BUDGET)
    average = BUDGET * len(SIZES) // sum(SIZES)
    ways: dict[str, tuple[str, str, Callable[..., Any], tuple[int, ...]]] = {
        "blazen": ("", "", Blazen, ()),
        "vramd_one_at_a_time": ("vramd", missing("vramd"), Vramd, (1,)),
        "vramd_eight_at_once": ("vramd", missing("vramd"), Vramd, (TASKS,)),
        "vramen": ("vramen", missing("vramen"), Vramen, ()),
        f"ray_serve_{safe}_models": ("ray", missing("ray", "starlette"), RayServe, (safe,)),
        f"ray_serve_{average}_models": ("ray", missing("ray", "starlette"), RayServe, (average,)),
    }
    found = {name: _found(*way) for name, way in ways.items()}
    speeds = {
        name: figures["requests_per_second"]
        for name, figures in found.items()
        if isinstance(figures, dict)
    }
    return {
        "requests_per_second_ratio_of_blazen_to": {
            name: speeds["blazen"] / speed for name, speed in speeds.items() if name != "blazen"
        },
        **found,
        "budget_gib": BUDGET / GIB,
        "all_models_gib": sum(SIZES) / GIB,
        "models": len(SIZES),
        "requests": REQUESTS,
        "tasks": TASKS,
        "load_ms": LOAD_SECONDS * 1e3,
        "request_ms": REQUEST_SECONDS * 1e3,
        "rounds": ROUNDS,
    }


def _found(
    distribution: str, absent: str, make: Callable[..., Any], settings: tuple[int, ...]
) -> dict[str, Any] | str:
    if absent:
        return f"{absent} is not installed"
    with ExitStack() as stack:
        contestant = stack.enter_context(Apart(make, *settings))
        rounds = [contestant.ask("trace") for _ in range(ROUNDS)]
        hot = contestant.ask("hot_us")
    print(make.__name__, settings, rounds, file=sys.stderr)
    figures: dict[str, Any] = {"version": version(distribution)} if distribution else {}
    for name, first in rounds[0].items():
        if isinstance(first, str):
            problem = next((each[name] for each in rounds if each[name]), "")
            figures |= {name: problem} if problem else {}
        else:
            values = [each[name] for each in rounds]
            figures[name] = max(values) if name in WORST else statistics.median(values)
    return {
        **figures,
        "never_over_budget": figures["peak_gib"] <= BUDGET / GIB,
        "hot_request_over_direct_call_us": hot,
    }


class Fake:
    """A local embedding model whose weights are a number, and whose vectors tell who answered."""

    device = "cpu"

    def __init__(self, number: int, ledger: Ledger) -> None:
        self._weights = Weights(number, ledger)

    @property
    def is_loaded(self) -> bool:
        return self._weights.is_loaded

    @property
    def memory_bytes(self) -> int | None:
        return SIZES[self._weights.number] if self.is_loaded else None

    async def load(self) -> None:
        with self._weights.loading():
            await asyncio.sleep(LOAD_SECONDS)

    async def unload(self) -> None:
        self._weights.unload()

    async def embed(self, texts: Sequence[str]) -> EmbeddingResponse:
        request, seconds = int(texts[0]), float(texts[1])
        with self._weights.in_use():
            if seconds:
                await asyncio.sleep(seconds)
            said = answer(self._weights.number, request)
        return EmbeddingResponse(Vectors(array("f", [said]), 1))


class Blazen:
    """Our manager, with the sizes declared and nothing to measure."""

    def __init__(self) -> None:
        # A trace that asks for three times the pool makes models come and go, and it says so.
        logging.getLogger("blazen.manager").setLevel(logging.ERROR)

    def trace(self) -> dict[str, Any]:
        return asyncio.run(self._trace())

    async def _trace(self) -> dict[str, Any]:
        ledger = Ledger()
        manager = await _manager(ledger)

        async def ask(model: int, request: int) -> float:
            response = await manager.embed(str(model), [str(request), str(REQUEST_SECONDS)])
            return float(response.embeddings[0][0])

        outcome = await ask_from_tasks(ask)
        figures = outcome.figures(ledger.figures())
        await manager.unload_all()
        return figures

    def hot_us(self) -> float:
        return asyncio.run(self._hot_us())

    async def _hot_us(self) -> float:
        manager = await _manager(Ledger())
        await manager.load("0")
        model, texts = manager.get("0"), ["0", "0"]
        through: list[float] = []
        direct: list[float] = []
        for _ in range(HOT):
            began = time.perf_counter()
            await manager.embed("0", texts)
            between = time.perf_counter()
            await model.embed(texts)
            direct.append(time.perf_counter() - between)
            through.append(between - began)
        await manager.unload_all()
        return (statistics.median(through) - statistics.median(direct)) * 1e6

    def close(self) -> None:
        """Nothing stays open between the rounds."""


async def _manager(ledger: Ledger) -> Any:
    from blazen.manager import ModelManager

    manager = ModelManager(pools={"cpu": BUDGET}, measure=False, learn=False)
    for number, size in enumerate(SIZES):
        await manager.register(str(number), Fake(number, ledger), size)
    return manager
