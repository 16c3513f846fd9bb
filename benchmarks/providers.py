"""Cloud providers: each one's own SDK and blazen on it, in turns, against a server nearby.

Times are of the processor, not of the clock: the server and the network are the same for both.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from benchmarks import import_time
from benchmarks.apart import medians_in_turns
from benchmarks.bare_providers import BARE, Bare
from benchmarks.provider_server import asking, piece, serving
from blazen import Model
from blazen.remote.retry import Retry

ROUNDS = 9
CALLS = 60
PIECES = 200
STREAMS = 200
PIECES_OF_EACH = 50
CHUNK_BUDGET_US = 30.0
IMPORT_ROUNDS = 5
PACKAGES = {"openai": "openai", "anthropic": "anthropic", "gemini": "google.genai"}


def run() -> dict[str, Any]:
    """Measure calls, pieces of streams and many streams at once of each provider."""
    with serving() as url:
        found: dict[str, Any] = {name: _measure(name, url) for name in BARE}
    return {
        **found,
        "import_until_used": _imports(),
        "chunk_budget_us": CHUNK_BUDGET_US,
        "pieces_of_a_stream": PIECES,
        "streams_at_once": STREAMS,
        "pieces_of_each": PIECES_OF_EACH,
        "rounds": ROUNDS,
    }


class Ours:
    """A provider by way of blazen."""

    def __init__(self, name: str, url: str) -> None:
        retry = Retry(times=0)  # a repeated request would hide what was lost
        given = {"api_key": "sk-bench", "retry": retry, "base_url": BARE[name].base_url(url)}
        self._model = Model.from_spec(f"{name}:bench-model", **given)

    async def call(self, question: str) -> str:
        return (await self._model.complete(question, {"max_tokens": 64})).content

    async def stream(self, question: str) -> AsyncIterator[str]:
        async for chunk in self._model.complete_stream(question, {"max_tokens": 64}):
            if chunk.content:
                yield chunk.content

    async def aclose(self) -> None:
        close: Callable[[], Awaitable[None]] = self._model.aclose  # type: ignore[attr-defined]  # a provider's
        await close()


_Way = Bare | Ours


def _measure(name: str, url: str) -> dict[str, Any]:
    loop = asyncio.new_event_loop()
    ways: dict[str, _Way] = {"bare": BARE[name](url), "blazen": Ours(name, url)}

    def medians(work: Callable[[_Way], Awaitable[None]], over: int) -> dict[str, float]:
        def cpu_us(_: str, way: _Way) -> float:
            began = time.process_time()
            loop.run_until_complete(work(way))
            return (time.process_time() - began) / over * 1e6

        return _in_turns(ways, cpu_us)

    async def calls(way: _Way) -> None:
        for number in range(CALLS):
            await way.call(asking(8, apart=False, number=number))

    def reading(*, apart: bool) -> Callable[[_Way], Awaitable[None]]:
        async def read(way: _Way) -> None:
            texts = [text async for text in way.stream(asking(PIECES, apart=apart))]
            assert len(texts) == PIECES

        return read

    async def short(way: _Way) -> None:
        for _ in range(20):
            assert [text async for text in way.stream(asking(1, apart=False))]

    try:
        call, stream = medians(calls, CALLS), medians(short, 20)
        apart = medians(reading(apart=True), PIECES)
        together = medians(reading(apart=False), PIECES)
        at_once = {name: loop.run_until_complete(_at_once(way)) for name, way in ways.items()}
        for way in ways.values():
            loop.run_until_complete(way.aclose())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    # The opening of a stream is counted once, not with each of its pieces.
    chunk = _over(apart) - _over(stream) / PIECES
    return {
        "call_over_bare_us": _over(call),
        "call_ratio_to_bare": call["blazen"] / call["bare"],
        "stream_of_1_over_bare_us": _over(stream),
        "chunk_over_bare_us": chunk,
        "chunk_ratio_to_budget": chunk / CHUNK_BUDGET_US,
        "chunk_in_one_read_over_bare_us": _over(together) - _over(stream) / PIECES,
        "microseconds": {"call": call, "chunk": apart, "chunk_in_one_read": together},
        "at_once": at_once,
    }


def _in_turns(ways: dict[str, _Way], measure: Callable[[str, _Way], float]) -> dict[str, float]:
    """Give both medians, and that of the differences of neighbours, which met the same machine."""
    found: dict[str, list[float]] = {name: [] for name in ways}

    def noted(name: str, way: _Way) -> float:
        found[name].append(measure(name, way))
        return found[name][-1]

    medians = medians_in_turns(ways, noted, ROUNDS, digits=1)
    pairs = zip(found["bare"][1:], found["blazen"][1:], strict=True)  # the first round warms up
    return {**medians, "over": statistics.median(ours - bare for bare, ours in pairs)}


def _over(figures: dict[str, float]) -> float:
    return figures["over"]


async def _at_once(way: _Way) -> dict[str, Any]:
    """Read many streams side by side, and count what does not come."""

    async def read(number: int) -> int:
        question = asking(PIECES_OF_EACH, apart=True, number=number)
        found = [text async for text in way.stream(question)]
        wanted = [piece(number, place) for place in range(PIECES_OF_EACH)]
        return sum(one != other for one, other in zip(found, wanted, strict=False)) + abs(
            len(wanted) - len(found)
        )

    began, cpu = time.perf_counter(), time.process_time()
    wrong = await asyncio.gather(*(read(number) for number in range(STREAMS)))
    return {
        "lost_chunks": sum(wrong),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def _imports() -> dict[str, Any]:
    """What it costs to have a provider, until it is used, over `import blazen` with `Model`."""
    before = "from blazen import Model"
    figures: dict[str, Any] = {}
    for name, package in PACKAGES.items():
        made = f"{before}; Model.{name}(api_key='sk-bench')"
        ways = {"without": before, "made": made}
        import_time._start(made)  # the first writes what others read
        ms = medians_in_turns(ways, lambda _, code: import_time._imports_ms(code), IMPORT_ROUNDS)
        loaded = f"{made}; import sys; print({package!r} in sys.modules, 'httpx2' in sys.modules)"
        told = subprocess.run(
            [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
        ).stdout.split()
        figures[name] = {
            "over_model_ms": ms["made"] - ms["without"],
            "sdk_imported": told[0] == "True",
            "http_client_imported": told[1] == "True",
        }
    return figures
