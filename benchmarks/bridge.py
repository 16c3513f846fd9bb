"""What a token pays for crossing from an engine's thread to asyncio."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from blazen import bridge
from blazen.bridge import EngineThread, StreamJob, StreamReader
from blazen.types.completion import InferenceChunk, InferenceChunkStream

TOKENS = 100_000
ROUNDS = 7
BUDGET_US = 10.0
CHUNK = InferenceChunk(content="word")


def run() -> dict[str, Any]:
    """Move the same tokens by a bare thread and queue, and by blazen, in turns."""
    ways: dict[str, Callable[[], float]] = {
        "thread_and_queue": _thread_and_queue,
        "bridge": lambda: asyncio.run(_bridge()),
        "bridge_and_chat_stream": lambda: asyncio.run(_chat_stream()),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            times[name].append(way() / TOKENS * 1e6)
    medians = {name: statistics.median(values) for name, values in times.items()}
    raw = medians["thread_and_queue"]
    return {
        "microseconds_a_token": medians,
        "bridge_ratio_to_queue": medians["bridge"] / raw,
        "bridge_and_chat_stream_ratio_to_queue": medians["bridge_and_chat_stream"] / raw,
        "bridge_over_queue_us": medians["bridge"] - raw,
        "bridge_and_chat_stream_over_queue_us": medians["bridge_and_chat_stream"] - raw,
        "budget_us": BUDGET_US,
        "tokens": TOKENS,
        "rounds": ROUNDS,
    }


def _thread_and_queue() -> float:
    queue: SimpleQueue[InferenceChunk | None] = SimpleQueue()

    def engine() -> None:
        for _ in range(TOKENS):
            queue.put(CHUNK)
        queue.put(None)

    thread, count = threading.Thread(target=engine), 0
    began = time.perf_counter()
    thread.start()
    while queue.get() is not None:
        count += 1
    took = time.perf_counter() - began
    thread.join()
    assert count == TOKENS
    return took


def _emit(job: StreamJob[InferenceChunk]) -> None:
    for _ in range(TOKENS):
        job.emit(CHUNK)


async def _bridge() -> float:
    async with _Thread() as thread:
        began = time.perf_counter()
        count = 0
        async for _ in _reader(thread):
            count += 1
        took = time.perf_counter() - began
    assert count == TOKENS
    return took


async def _chat_stream() -> float:
    async with _Thread() as thread:

        async def start() -> StreamReader[InferenceChunk]:
            return _reader(thread)

        began = time.perf_counter()
        stream = InferenceChunkStream(start)
        count = 0
        async for _ in stream:
            count += 1
        took = time.perf_counter() - began
    assert count == TOKENS
    assert len(stream.response.content) == TOKENS * len("word")
    return took


def _reader(thread: EngineThread[object]) -> StreamReader[InferenceChunk]:
    job: StreamJob[InferenceChunk] = StreamJob(_emit)
    thread.submit(job)
    return StreamReader(job)


class _Thread:
    """An engine's thread for as long as a measurement takes."""

    async def __aenter__(self) -> EngineThread[object]:
        self._thread: EngineThread[object] = EngineThread("bench", close=lambda engine: None)
        await bridge.outcome(self._thread.open(lambda job: object()))
        return self._thread

    async def __aexit__(self, *_: object) -> None:
        await bridge.wait(self._thread.stop())
