"""A thousand tasks on fifty models in a pool for ten, against what the simulator says."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from dataclasses import dataclass
from typing import Any

from blazen.manager import ModelManager, traces
from blazen.manager.simulation.simulator import simulate
from blazen.manager.simulation.traces import Request, SimulatedModel, Trace

TASKS = 1_000
EACH = 8
MODELS = 50
PLACES = 10
LOAD_SECONDS = (0.020, 0.200)
SIZE = 2**30
ROUNDS = 5
TARGET = 0.95


@dataclass(frozen=True)
class _Times:
    load: float
    unload: float
    request: float

    @classmethod
    def of(cls, load: float) -> _Times:
        return cls(load, load / 20, load / 10)


def run() -> dict[str, Any]:
    """Let the tasks ask a manager, and the simulator replay the same requests.

    A sleep takes longer than asked for, by what the loop's clock is coarse. So the simulator is
    given what sleeps take on an idle loop here; what else is lost is the manager's. All of it is
    one loop's own work, so that the shorter loads and requests are, the more it weighs.
    """
    return {
        **{f"loads_of_{load * 1e3:.0f}_ms": _measure(_Times.of(load)) for load in LOAD_SECONDS},
        "target_ratio": TARGET,
        "tasks": TASKS,
        "requests_each": EACH,
        "models": MODELS,
        "places": PLACES,
        "rounds": ROUNDS,
    }


def _measure(times: _Times) -> dict[str, Any]:
    slept = asyncio.run(_sleeps(times))
    trace = _trace(slept)
    said = simulate(trace, {"cpu": PLACES * SIZE})
    exactly = simulate(_trace(times), {"cpu": PLACES * SIZE})
    rounds = [asyncio.run(_ask(trace, times)) for _ in range(ROUNDS)]
    rate = statistics.median(rate for rate, _, _ in rounds)
    return {
        "requests_per_second": rate,
        "simulated_requests_per_second": said.requests_per_second,
        "throughput_ratio_to_simulated": rate / said.requests_per_second,
        "throughput_ratio_to_simulated_with_exact_sleeps": rate / exactly.requests_per_second,
        "cpu_us_a_request": statistics.median(cpu for _, cpu, _ in rounds) / (TASKS * EACH) * 1e6,
        "loads": statistics.median(loads for _, _, loads in rounds),
        "simulated_loads": said.loads,
        "request_ms": times.request * 1e3,
        "request_slept_ms": slept.request * 1e3,
    }


def _trace(times: _Times) -> Trace:
    """Give each task its requests, one after the other, Zipf over the models."""
    models = [
        SimulatedModel(f"model-{number}", {"cpu": SIZE}, times.load, times.unload)
        for number in range(MODELS)
    ]
    drawn = traces.zipf(models, TASKS * EACH, seed=4).requests
    requests = (
        Request(0.0, request.model, times.request, client=f"task-{place % TASKS}")
        for place, request in enumerate(drawn)
    )
    return Trace(tuple(models), tuple(requests))


async def _ask(trace: Trace, times: _Times) -> tuple[float, float, int]:
    """Give requests a second, seconds of CPU, and loads."""
    manager = ModelManager(pools={"cpu": PLACES * SIZE}, measure=False)
    models = {model.id: _Sleeper(times) for model in trace.models}
    for name, model in models.items():
        await manager.register(name, model, memory_estimate_bytes=SIZE)
    tasks: dict[str, list[str]] = {}
    for request in trace.requests:
        tasks.setdefault(request.client, []).append(request.model)

    async def work(names: list[str]) -> None:
        for name in names:
            await manager.complete(name, "hello")

    logger = logging.getLogger("blazen.manager")
    level = logger.level
    logger.setLevel(logging.ERROR)  # fifty models in ten places thrash, and it says so
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(work, tasks.values()))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    logger.setLevel(level)
    await manager.unload_all()
    assert sum(model.answers for model in models.values()) == len(trace.requests)
    return len(trace.requests) / took, cpu, sum(model.loads for model in models.values())


async def _sleeps(times: _Times) -> _Times:
    """Give what sleeps take on a loop that does nothing else."""

    async def median(seconds: float) -> float:
        took = []
        for _ in range(30):
            began = time.perf_counter()
            await asyncio.sleep(seconds)
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    return _Times(await median(times.load), await median(times.unload), await median(times.request))


class _Sleeper:
    """A model that takes time and nothing else."""

    device = "cpu"
    memory_bytes = None

    def __init__(self, times: _Times) -> None:
        self.is_loaded = False
        self.loads = self.answers = 0
        self._times = times

    async def load(self) -> None:
        await asyncio.sleep(self._times.load)
        self.is_loaded = True
        self.loads += 1

    async def unload(self) -> None:
        await asyncio.sleep(self._times.unload)
        self.is_loaded = False

    async def complete(self, messages: Any, options: Any = None) -> None:
        assert self.is_loaded
        await asyncio.sleep(self._times.request)
        self.answers += 1
