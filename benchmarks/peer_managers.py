"""Other managers of models with a budget, each as its own documentation and source say to use it.

None of them is needed to run the rest: they are imported where they are opened.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.metadata
import itertools
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from benchmarks.fake_models import (
    BUDGET,
    GIB,
    LOAD_SECONDS,
    REQUEST_SECONDS,
    SIZES,
    TASKS,
    Ledger,
    Weights,
    answer,
    ask_from_tasks,
    ask_from_threads,
)

MIB = 2**20
HOT_ROUNDS = 200


def missing(*distributions: str) -> str:
    """Say which of these is not installed, or nothing."""
    try:
        for name in distributions:
            importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        return error.name
    return ""


def version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


class Deletable(Weights):
    """Weights that go when nobody holds them any more: Ray Serve and vramen let go that way."""

    def __del__(self) -> None:
        self.unload()


def load_blocking(weights: Weights) -> None:
    with weights.loading():
        time.sleep(LOAD_SECONDS)


def answer_blocking(weights: Weights, request: int, seconds: float) -> float:
    with weights.in_use():
        if seconds:
            time.sleep(seconds)
        return answer(weights.number, request)


class Vramd:
    """Its queue, its workers and its manager of backends in this process, without the socket.

    The GPU that it asks for free memory is the ledger: the budget, less what is loaded.
    """

    def __init__(self, inflight: int) -> None:
        _close_output(1)
        # Its margin of 384 MiB stays out of the comparison: nothing here takes more than it says.
        os.environ.update(VRAMD_VRAM_SAFETY_MIB="0", VRAMD_NO_FILE_LOG="1")
        # It asks torch for its cache where it can import it, and a supervisor has none installed.
        sys.modules["torch"] = cast("Any", None)
        self._inflight = inflight
        self._open()

    def _open(self) -> None:
        dispatcher, manager, jobs, registry = (
            importlib.import_module(f"vramd.{name}")
            for name in ("dispatcher", "backend_manager", "job_queue", "registry")
        )
        self._ledger = Adapter.ledger = Ledger()
        described = {
            str(number): registry.BackendDescriptor(
                name=str(number),
                adapter=__name__,
                vram_mib=size // MIB,
                priority=0,
                load_keys=frozenset({"model_id"}),
                vram={"weights_gib": size / GIB, "activation_gib": 0.0, "peak_mib": size // MIB},
            )
            for number, size in enumerate(SIZES)
        }
        backends = manager.BackendManager(
            registry.Registry(described),
            query_free_mib=self._free_mib,
            clear_vram=lambda: None,
            query_process_vram_mib=lambda: 0,
        )
        self._queue = jobs.JobQueue()
        self._workers = dispatcher.WorkerPool(
            self._queue, backends, max_inflight=self._inflight, query_free_mib=self._free_mib
        )
        self._workers.start()

    def _free_mib(self) -> int:
        return (BUDGET - self._ledger.resident) // MIB

    def _ask(self, model: int, request: int, seconds: float = REQUEST_SECONDS) -> float:
        job = self._queue.enqueue(
            str(model), {"model_id": model, "request": request, "seconds": seconds}
        )
        self._queue.wait(job.job_id)
        if job.result["status"] != "ok":
            raise RuntimeError(job.result["error"])
        said: float = job.result["said"]
        return said

    def trace(self) -> dict[str, Any]:
        self._workers.stop()
        self._open()
        outcome = ask_from_threads(self._ask)
        return outcome.figures(self._ledger.figures())

    def hot_us(self) -> float:
        return median_us(functools.partial(self._ask, 0, 0, 0.0)) - _direct_us()

    def close(self) -> None:
        self._workers.stop()


class Adapter:
    """What vramd loads models with: it finds this class by its name in this module."""

    ledger: Ledger

    def load(self, *, model_id: int) -> Weights:
        weights = Weights(model_id, self.ledger)
        load_blocking(weights)
        return weights

    def generate(self, model: Weights, request: dict[str, Any]) -> dict[str, Any]:
        said = answer_blocking(model, request["request"], request["seconds"])
        return {"status": "ok", "said": said}

    def unload(self, model: Weights) -> None:
        model.unload()


class Vramen:
    """Its manager in this process, with a process for each model, as it always works."""

    def __init__(self) -> None:
        _close_output(1)
        # Forked from its threads, as Python did on Linux up to 3.13, a process inherits the pipe
        # by which the end of another is noticed, and each eviction may wait for 30 seconds.
        multiprocessing.set_start_method("forkserver", force=True)
        multiprocessing.set_forkserver_preload(["vramen", __name__])
        self._vramen = importlib.import_module("vramen")
        self._open()

    def _open(self) -> None:
        self._ledger = Ledger()
        self._manager = self._vramen.InferenceModelResourceManager(quota_gb=BUDGET / GIB)

    def _ask(self, model: int, request: int, seconds: float = REQUEST_SECONDS) -> float:
        kind = Kind(model, self._ledger)
        with self._manager.residency(kind) as (requests, replies):
            requests.put(functools.partial(_answer_there, request, seconds))
            error, said = replies.get()
        if error is not None:
            raise RuntimeError(error)
        return float(said)

    def trace(self) -> dict[str, Any]:
        self._manager.shutdown()
        self._open()
        outcome = ask_from_threads(self._ask)
        return outcome.figures(self._ledger.figures())

    def hot_us(self) -> float:
        return median_us(functools.partial(self._ask, 0, 0, 0.0)) - _direct_us()

    def close(self) -> None:
        self._manager.shutdown()


class Kind:
    """A model as vramen wants it: a name, a size and a way to load it."""

    def __init__(self, number: int, ledger: Ledger) -> None:
        self.model_id = str(number)
        self.mem_required_gb = SIZES[number] / GIB
        self._number = number
        self._ledger = ledger

    def load(self) -> tuple[Weights, None]:
        weights = Deletable(self._number, self._ledger)
        load_blocking(weights)
        return weights, None


def _answer_there(request: int, seconds: float, model: Weights, tokenizer: None) -> float:
    return answer_blocking(model, request, seconds)


class RayServe:
    """One replica that keeps so many models, asked through its handle.

    It counts models and not bytes, so that whoever deploys it must say how many fit.
    """

    def __init__(self, models: int) -> None:
        _close_output(1)
        _close_output(2)
        os.environ["RAY_SERVE_LOG_TO_STDERR"] = "0"
        ray = importlib.import_module("ray")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
        )
        self._serve = importlib.import_module("ray.serve")
        self._models = models
        self._names = map(str, itertools.count())
        # One event loop for all: a handle belongs to the loop that it is first used from.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._open()

    def _open(self) -> None:
        application = _replica(self._serve, self._models).bind()
        self._name = next(self._names)
        self._handle = self._serve.run(application, name=self._name, route_prefix=None)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _ask(self, model: int, request: int, seconds: float = REQUEST_SECONDS) -> float:
        handle = self._handle.options(multiplexed_model_id=str(model))
        return float(await handle.remote(request, seconds))

    def trace(self) -> dict[str, Any]:
        self._serve.delete(self._name)
        self._open()
        outcome = self._run(ask_from_tasks(self._ask))
        ledger: dict[str, int] = self._handle.figures.remote().result()
        figures: dict[str, Any] = outcome.figures(ledger)
        return figures

    def hot_us(self) -> float:
        async def times() -> float:
            every = []
            for _ in range(HOT_ROUNDS):
                began = time.perf_counter()
                await self._ask(0, 0, 0.0)
                every.append(time.perf_counter() - began)
            return statistics.median(every) * 1e6

        through: float = self._run(times())
        return through - _direct_us()

    def close(self) -> None:
        self._serve.shutdown()
        importlib.import_module("ray").shutdown()


def _replica(serve: Any, models: int) -> Any:
    class Replica:
        def __init__(self) -> None:
            self.ledger = Ledger()

        async def load(self, model_id: str) -> Weights:
            weights = Deletable(int(model_id), self.ledger)
            with weights.loading():
                await asyncio.sleep(LOAD_SECONDS)
            return weights

        async def __call__(self, request: int, seconds: float) -> float:
            weights = await self.load(serve.get_multiplexed_model_id())
            with weights.in_use():
                if seconds:
                    await asyncio.sleep(seconds)
                return answer(weights.number, request)

        def figures(self) -> dict[str, int]:
            return self.ledger.figures()

    decorate: Any = serve.multiplexed(max_num_models_per_replica=models)
    Replica.load = decorate(Replica.load)  # type: ignore[method-assign]  # Ray is imported late
    return serve.deployment(max_ongoing_requests=TASKS)(Replica)


def median_us(ask: Callable[[], object]) -> float:
    """Give the median of what a request of a loaded model takes."""
    times = []
    for _ in range(HOT_ROUNDS):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def _direct_us() -> float:
    weights = Weights(0, Ledger())
    load_blocking(weights)
    return median_us(functools.partial(answer_blocking, weights, 0, 0.0))


def _close_output(descriptor: int) -> None:
    """Send what a peer's processes write about each load nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
