"""Torch models of several GB on real GPUs, under the manager: what the driver says they take.

One GPU is enough for the first part; with two, the second shows that their pools are independent.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from benchmarks.torch_models import GIB, TorchModel, torch, warm_up
from blazen import hardware

TASKS = 8
REQUESTS = 200
SAMPLE_SECONDS = 0.002
PER_REQUEST = 64 << 20
BUDGETS = {"gpu:0": 45 * GIB // 2, "cpu": 5 * GIB // 2}
# Two of the five fit in the GPU, and one of the two tables in RAM.
SIZES: dict[str, dict[str, int]] = {
    "large": {"gpu:0": 12 * GIB},
    "medium": {"gpu:0": 10 * GIB},
    "small": {"gpu:0": 8 * GIB},
    "with_table": {"gpu:0": 10 * GIB, "cpu": 2 * GIB},
    "with_small_table": {"gpu:0": 8 * GIB, "cpu": 3 * GIB // 2},
}
TWO_BUDGETS = {"gpu:0": 45 * GIB // 2, "gpu:1": 45 * GIB // 2, "cpu": 3 * GIB // 2}
TWO_SIZES: dict[str, dict[str, int]] = {
    "first_a": {"gpu:0": 12 * GIB},
    "first_b": {"gpu:0": 10 * GIB},
    "second_a": {"gpu:1": 12 * GIB},
    "second_b": {"gpu:1": 10 * GIB},
    "second_c": {"gpu:1": 8 * GIB, "cpu": GIB},
    "over_both": {"gpu:0": 6 * GIB, "gpu:1": 7 * GIB},
}


def run() -> dict[str, Any]:
    """Ask for models that do not fit together, and hold the driver's readings to the budget."""
    gpus = [gpu for gpu in hardware.find_gpus() if gpu.api == "cuda" and not gpu.unified]
    if not gpus or importlib.util.find_spec("torch") is None:
        return {"gpus": "no NVIDIA GPU, or no torch, is here"}
    # Asked for more than fits, models come and go, and the manager says so.
    logging.getLogger("blazen.manager").setLevel(logging.ERROR)
    figures = asyncio.run(_run(gpus))
    for part in (figures["one_gpu"], figures.get("two_gpus", figures["one_gpu"])):
        assert part["never_over_budget"]
        assert part["wrong"] == part["failed"] == part["used_while_unloaded"] == 0
    if "two_gpus" in figures:
        assert figures["two_gpus"]["kept_in_gpu_0_while_gpu_1_evicted"]
        assert figures["two_gpus"]["evicted_for_a_model_of_other_pools"] == 0
    return figures


async def _run(gpus: Sequence[hardware.Gpu]) -> dict[str, Any]:
    pools = [gpu.pool for gpu in gpus][:2]
    empty = _read(pools)
    await warm_up(pools)
    base = _read([*pools, "cpu"])
    figures: dict[str, Any] = {
        "gpu": gpus[0].name,
        "gpus": len(pools),
        "torch": str(torch().__version__),
        "context_mib": {pool: (base[pool] - empty[pool]) / 2**20 for pool in pools},
    }
    figures["one_gpu"] = await _stress(base)
    print(json.dumps(figures), file=sys.stderr, flush=True)
    if len(pools) == 2:
        figures["two_gpus"] = await _two(base)
        print(json.dumps(figures["two_gpus"]), file=sys.stderr, flush=True)
    figures |= {"requests": REQUESTS, "tasks": TASKS, "sample_ms": SAMPLE_SECONDS * 1e3}
    return figures


async def _stress(base: Mapping[str, int]) -> dict[str, Any]:
    models = {name: TorchModel(seed, sizes) for seed, (name, sizes) in enumerate(SIZES.items())}
    right = {name: await _alone(model) for name, model in models.items()}
    async with _Watched(BUDGETS, base, models) as watched:
        figures = await watched.ask(list(models), REQUESTS, right)
    return figures | watched.figures()


async def _two(base: Mapping[str, int]) -> dict[str, Any]:
    models = {name: TorchModel(seed, size) for seed, (name, size) in enumerate(TWO_SIZES.items())}
    right = {name: await _alone(model) for name, model in models.items()}
    async with _Watched(TWO_BUDGETS, base, models) as watched:
        manager = watched.manager
        for name in ("first_a", "first_b"):
            await manager.load(name)
        second = [name for name in models if name.startswith("second")]
        await watched.ask(second, REQUESTS // 2, right)
        kept = [models[name].is_loaded for name in ("first_a", "first_b")]
        loads_in_second = sum(watched.loads(name) for name in second)
        await asyncio.gather(*(manager.unload(name) for name in models))
        before, driver_before = await _charged(manager), _read(("gpu:0", "gpu:1"))
        await manager.load("over_both")
        after, driver_after = await _charged(manager), _read(("gpu:0", "gpu:1"))
        mixed = await watched.ask(list(models), REQUESTS // 2, right)
    return {
        "kept_in_gpu_0_while_gpu_1_evicted": kept == [True, True],
        "loads_in_gpu_1_meanwhile": loads_in_second,
        "model_over_both": {
            pool: {
                "declared_gib": TWO_SIZES["over_both"][pool] / GIB,
                "charged_gib": (after[pool] - before[pool]) / GIB,
                "driver_gib": (driver_after[pool] - driver_before[pool]) / GIB,
            }
            for pool in ("gpu:0", "gpu:1")
        },
        "evicted_for_a_model_of_other_pools": watched.strangers(TWO_SIZES),
        **mixed,
        **watched.figures(),
    }


async def _alone(model: TorchModel) -> dict[int, list[float]]:
    """Give what a model answers by itself, before anyone manages it."""
    await model.load()
    answers = {n: (await model.embed([str(n)])).embeddings.tolist()[0] for n in range(4)}
    await model.unload()
    return answers


async def _charged(manager: Any) -> dict[str, int]:
    return {pool: await manager.used_bytes(pool=pool) for pool in ("gpu:0", "gpu:1")}


class _Watched:
    """A manager of these models, with the memory sampled for as long as it is open."""

    def __init__(
        self, budgets: Mapping[str, int], base: Mapping[str, int], models: Mapping[str, TorchModel]
    ) -> None:
        self._budgets = budgets
        self._models = models
        self._sampler = _Sampler({pool: base[pool] for pool in budgets})
        self._events: list[Any] = []

    async def __aenter__(self) -> _Watched:
        from blazen.manager import Footprint, ModelManager

        self.manager = ModelManager(pools=dict(self._budgets), learn=False)
        for name, model in self._models.items():
            requests = dict.fromkeys(model.sizes, PER_REQUEST)
            footprint = Footprint(resident=model.sizes, per_request=requests)
            await self.manager.register(name, model, footprint=footprint)
        self._listener = asyncio.create_task(self._listen())
        await asyncio.sleep(0)
        self._sampler.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sampler.stop()
        await self.manager.unload_all()
        self._left = {p: size - self._sampler.base[p] for p, size in _read(self._budgets).items()}
        self._listener.cancel()

    async def _listen(self) -> None:
        async for event in self.manager.events():
            self._events.append(event)

    async def ask(
        self, names: list[str], count: int, right: Mapping[str, Mapping[int, list[float]]]
    ) -> dict[str, Any]:
        """Ask from eight tasks for models in a mixed order, and compare each answer."""
        chance = random.Random(4)
        waiting = iter([(chance.choice(names), chance.randrange(4)) for _ in range(count)])
        wrong: list[str] = []
        failed: list[str] = []
        times: list[float] = []

        async def work() -> None:
            for name, number in waiting:
                began = time.perf_counter()
                try:
                    response = await self.manager.embed(name, [str(number)])
                except Exception as problem:
                    failed.append(f"{type(problem).__name__}: {problem}")
                    continue
                times.append(time.perf_counter() - began)
                if not _same(response.embeddings.tolist()[0], right[name][number]):
                    wrong.append(name)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(TASKS)))
        seconds = time.perf_counter() - began
        return {
            "answered": len(times),
            "wrong": len(wrong),
            "failed": len(failed),
            "first_failure": failed[0] if failed else "none",
            "requests_per_second": len(times) / seconds,
            "median_request_ms": statistics.median(times) * 1e3 if times else 0.0,
        }

    def loads(self, name: str) -> int:
        """Say how often a model was loaded."""
        return next(int(m.loads) for m in self.manager.status().models if m.id == name)

    def strangers(self, sizes: Mapping[str, Mapping[str, int]]) -> int:
        """Count the evictions for a model that shares no pool with the one that went."""
        evicted = [e for e in self._events if e.kind.value == "evicting"]
        return sum(1 for e in evicted if not sizes[e.id].keys() & sizes[e.by].keys())

    def figures(self) -> dict[str, Any]:
        """Give what was seen."""
        kinds = [event.kind.value for event in self._events]
        seconds = [e.seconds for e in self._events if e.kind.value == "loaded" and e.seconds]
        peak = {pool: most / GIB for pool, most in self._sampler.most.items()}
        budget = {pool: size / GIB for pool, size in self._budgets.items()}
        return {
            "never_over_budget": all(peak[pool] <= budget[pool] for pool in budget),
            "peak_above_base_gib": peak,
            "budget_gib": budget,
            "highest_ratio_to_budget": {pool: peak[pool] / budget[pool] for pool in budget},
            "left_after_unload_mib": {pool: size / 2**20 for pool, size in self._left.items()},
            "samples": self._sampler.count,
            "longest_gap_between_samples_ms": self._sampler.gap * 1e3,
            "loads": kinds.count("loaded"),
            "evictions": kinds.count("evicting"),
            "median_load_ms": statistics.median(seconds) * 1e3 if seconds else 0.0,
            "used_while_unloaded": sum(m.uses_while_unloaded for m in self._models.values()),
            "told": {k: kinds.count(k) for k in ("mismatch", "quarantined", "load_failed")},
        }


class _Sampler(threading.Thread):
    """Reads, every few milliseconds, how far each pool is above what it held at first."""

    def __init__(self, base: Mapping[str, int]) -> None:
        super().__init__(daemon=True)
        self.base = dict(base)
        self.most = dict.fromkeys(base, 0)
        self.count = 0
        self.gap = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        last = time.perf_counter()
        while not self._over.wait(SAMPLE_SECONDS):
            for pool, size in _read(self.base).items():
                self.most[pool] = max(self.most[pool], size - self.base[pool])
            now = time.perf_counter()
            self.count, self.gap, last = self.count + 1, max(self.gap, now - last), now

    def stop(self) -> None:
        self._over.set()
        self.join()


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) < 0.1 for a, b in zip(one, other, strict=True))


def _read(pools: Iterable[str]) -> dict[str, int]:
    """Read what is in use: of a GPU as the driver tells it, of RAM by this process."""
    used = {gpu.pool: gpu.total - gpu.free for gpu in hardware.find_gpus()}
    return {pool: hardware.rss_bytes() if pool == "cpu" else used[pool] for pool in pools}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
