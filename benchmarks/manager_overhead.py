"""What a request by name pays over asking the model itself, once the model is loaded."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from blazen.manager import ModelManager
from blazen.types.completion import InferenceChunk, InferenceChunkStream, ModelResponse

ROUNDS = 21
REQUESTS = 3_000
STREAMS = 150
TOKENS = 200
LEASE_BUDGET_US = 3.0
COMPLETE_BUDGET_US = 8.0
ANSWER = ModelResponse(content="word")
CHUNK = InferenceChunk(content="word")


def run() -> dict[str, Any]:
    """Ask a model that answers at once, itself and through a manager, in turns."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, Any]:
    model = _Instant()
    manager = ModelManager(cpu_ram_gb=1, learn=False)
    await manager.register("m", model, memory_estimate_bytes="1MiB")
    await manager.load("m")

    async def direct() -> None:
        await model.complete("hello")

    async def dispatched() -> None:
        await manager.complete("m", "hello")

    def reader(stream: Callable[[str], InferenceChunkStream], tokens: int) -> _Way:
        async def read() -> None:
            model.tokens = tokens
            async for _ in stream("hello"):
                pass

        return read

    def by_name(messages: str) -> InferenceChunkStream:
        return manager.complete_stream("m", messages)

    async def lease() -> None:
        async with manager.lease("m"):
            pass

    async def bare() -> None:
        async with _Bare():
            pass

    us = await _medians(
        {
            "async_with": (bare, REQUESTS),
            "lease": (lease, REQUESTS),
            "complete_direct": (direct, REQUESTS),
            "complete_by_name": (dispatched, REQUESTS),
            "stream_of_1_direct": (reader(model.complete_stream, 1), STREAMS),
            "stream_of_1_by_name": (reader(by_name, 1), STREAMS),
            "stream_direct": (reader(model.complete_stream, TOKENS), STREAMS),
            "stream_by_name": (reader(by_name, TOKENS), STREAMS),
        }
    )
    await manager.unload_all()
    complete = us["complete_by_name"] - us["complete_direct"]
    start = us["stream_of_1_by_name"] - us["stream_of_1_direct"]
    whole = us["stream_by_name"] - us["stream_direct"]
    return {
        "microseconds": us,
        "lease_ratio_to_budget": us["lease"] / LEASE_BUDGET_US,
        "complete_over_direct_us": complete,
        "complete_ratio_to_budget": complete / COMPLETE_BUDGET_US,
        "stream_over_direct_us": start,
        "token_over_direct_us": (whole - start) / (TOKENS - 1),
        "stream_ratio_to_direct": us["stream_by_name"] / us["stream_direct"],
        "lease_budget_us": LEASE_BUDGET_US,
        "complete_budget_us": COMPLETE_BUDGET_US,
        "tokens_of_a_stream": TOKENS,
        "rounds": ROUNDS,
    }


_Way = Callable[[], Awaitable[None]]


async def _medians(ways: dict[str, tuple[_Way, int]]) -> dict[str, float]:
    """Give the microseconds that each takes; what calling it costs is taken off."""

    async def nothing() -> None:
        pass

    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, count) in ways.items():
            idle = await _time(nothing, count)
            times[name].append(await _time(way, count) - idle)
    return {name: statistics.median(values) for name, values in times.items()}


async def _time(way: _Way, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await way()
    return (time.perf_counter() - began) / count * 1e6


class _Bare:
    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass


class _Instant:
    """A model whose answers cost nothing."""

    device = "cpu"
    memory_bytes = None

    def __init__(self) -> None:
        self.is_loaded = False
        self.tokens = 1

    async def load(self) -> None:
        self.is_loaded = True

    async def unload(self) -> None:
        self.is_loaded = False

    async def complete(self, messages: Any, options: Any = None) -> ModelResponse:
        return ANSWER

    def complete_stream(self, messages: Any, options: Any = None) -> InferenceChunkStream:
        return InferenceChunkStream.of(self._write())

    async def _write(self) -> AsyncIterator[InferenceChunk]:
        for _ in range(self.tokens):
            yield CHUNK
