"""Models of several GB for the benchmark on GPUs: layers on one or more GPUs, a table in RAM."""

from __future__ import annotations

import asyncio
import importlib
import threading
from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from blazen.types.embedding import EmbeddingResponse, Vectors

GIB = 2**30
WIDTH = 8192
LAYER_BYTES = WIDTH * WIDTH * 2
BATCH = 256
# Each thread that computes has a workspace of its own for matrix products: it counts as context.
WORKERS = 4
_pool = ThreadPoolExecutor(WORKERS, "torch")


def torch() -> Any:
    return importlib.import_module("torch")


def device_of(pool: str) -> Any:
    """Give torch's device for a pool of memory."""
    return torch().device("cpu" if pool == "cpu" else f"cuda:{pool.partition(':')[2]}")


async def in_thread(work: Any, *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_pool, work, *arguments)


class TorchModel:
    """A stack of layers that a batch goes through; the rows it starts from may lie in RAM."""

    def __init__(self, seed: int, sizes: Mapping[str, int]) -> None:
        self.sizes = dict(sizes)
        self._seed = seed
        self._gpus = [pool for pool in sizes if pool != "cpu"]
        self._layers: list[Any] = []
        self._table: Any = None
        self.uses_while_unloaded = 0

    @property
    def device(self) -> str:
        return str(device_of(self._gpus[0]))

    @property
    def is_loaded(self) -> bool:
        return bool(self._layers)

    @property
    def memory_bytes(self) -> int | None:
        return sum(self.sizes.values()) if self.is_loaded else None

    async def load(self) -> None:
        if not self.is_loaded:
            self._layers = await in_thread(self._load)

    async def unload(self) -> None:
        await in_thread(self._unload)

    async def embed(self, texts: Sequence[str]) -> EmbeddingResponse:
        """Give the first numbers of what comes out for each text, which is a whole number."""
        if not self.is_loaded:
            self.uses_while_unloaded += 1
        values = await in_thread(self._embed, [int(text) for text in texts])
        return EmbeddingResponse(Vectors(values, 8))

    def _load(self) -> list[Any]:
        layers = []
        for pool in self._gpus:
            device = device_of(pool)
            generator = torch().Generator(device).manual_seed(self._seed)
            for _ in range(self.sizes[pool] // LAYER_BYTES):
                layer = torch().empty((WIDTH, WIDTH), dtype=torch().bfloat16, device=device)
                layers.append(layer.normal_(0, WIDTH**-0.5, generator=generator))
            if device.type == "cuda":
                torch().cuda.synchronize(device)
        rows = self.sizes.get("cpu", 0) // (WIDTH * 4)
        if rows:
            self._table = torch().empty((rows, WIDTH), dtype=torch().float32)
            self._table.fill_(1 / (1 + self._seed))
        return layers

    def _unload(self) -> None:
        self._layers, self._table = [], None
        empty_caches(self._gpus)

    def _embed(self, numbers: list[int]) -> array[float]:
        with torch().inference_mode():
            rows = torch().tensor(numbers).repeat_interleave(BATCH // len(numbers))
            start = torch().sin(torch().arange(WIDTH) * (1 + rows[:, None]))
            if self._table is not None:
                start = start + self._table[rows % len(self._table)]
            batch = start.to(torch().bfloat16)
            for layer in self._layers:
                batch = torch().nn.functional.rms_norm(batch.to(layer.device) @ layer, (WIDTH,))
            first = batch[:: BATCH // len(numbers), :8].float().cpu()
        return array("f", first.flatten().tolist())


def empty_caches(pools: Sequence[str]) -> None:
    """Have torch give back what it keeps for later."""
    for pool in pools:
        if device_of(pool).type == "cuda":
            with torch().cuda.device(device_of(pool)):
                torch().cuda.empty_cache()


async def warm_up(pools: Sequence[str]) -> None:
    """Have every thread do once, on each GPU, all that models do: it counts as the context.

    CUDA brings in each kernel at its first use.
    """
    every_thread = threading.Barrier(WORKERS)

    def work(model: TorchModel) -> None:
        every_thread.wait()
        model._embed([0])

    for sizes in (dict.fromkeys(pools, LAYER_BYTES), {pools[0]: LAYER_BYTES, "cpu": GIB}):
        model = TorchModel(0, sizes)
        await model.load()
        await asyncio.gather(*(in_thread(work, model) for _ in range(WORKERS)))
        await model.unload()
