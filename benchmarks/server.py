"""`blazen serve` against the SDK in process: tokens a second, the first of them, and memory."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.apart import Apart, medians_in_turns
from benchmarks.blazen_models import Loaded
from benchmarks.chat_concurrent import PROMPTS
from benchmarks.chat_decode import PROMPT
from benchmarks.raw_engines import CONTEXT
from benchmarks.serving import Line, Serving
from blazen import CompletionOptions
from blazen.hardware import thread_budget

TOKENS = 128
TOKENS_EACH = 64
ROUNDS = 9
FIRST_ROUNDS = 25
STREAMS = 500
A_SECOND = 50
SECONDS = 60
TARGET_RATIO = 0.95
TARGET_LATER_MS = 10.0

MIB = 2**20
_CHAT = """
[discover]
starters = false
cache = false
programs = false
[models.chat]
spec = "xllamacpp:starter:chat"
[models.chat.options]
device = "cpu"
context_length = {context}
threads = {threads}
parallel = {parallel}
"""
_EMBED = """
[discover]
starters = false
cache = false
programs = false
[models.embed]
spec = "fastembed:starter:embed"
kind = "embedding"
"""


class InProcess(Loaded):
    """The SDK, which is asked for the same as the server."""

    def streams(self, prompts: Sequence[str], tokens: int) -> int:
        """Stream answers to the prompts at once; give the number of tokens."""
        return self.run(self._streams(prompts, tokens))

    def first(self, prompt: str) -> float:
        """Give the seconds from the request to the first token."""
        began = time.perf_counter()
        return self.answer(prompt, 1)[0] - began

    async def _streams(self, prompts: Sequence[str], tokens: int) -> int:
        options = CompletionOptions(max_tokens=tokens, temperature=0)

        async def one(prompt: str) -> int:
            stream = self.model.complete_stream(prompt, options)
            return len([None async for chunk in stream if chunk.content])

        return sum(await asyncio.gather(*map(one, prompts)))


def run() -> dict[str, Any]:
    """Ask both in turns, each in a process of its own; then hold many streams open."""
    threads = thread_budget(None)
    return {
        "one_client": _decode(threads),
        "eight_clients": _together(threads),
        "first_token": _first(threads),
        "memory": asyncio.run(_memory()),
        "target_ratio": TARGET_RATIO,
        "target_later_ms": TARGET_LATER_MS,
        "tokens": TOKENS,
        "tokens_each_of_eight": TOKENS_EACH,
        "rounds": ROUNDS,
        "threads": threads,
    }


Ways = dict[str, Apart | Serving]


@contextmanager
def _ways(threads: int, parallel: int) -> Iterator[Ways]:
    """Have both there, each in a process of its own."""
    given = {"threads": threads, "parallel": parallel}
    text = _CHAT.format(context=CONTEXT, **given)
    with Apart(InProcess, "xllamacpp", **given) as sdk, Serving(text) as server:
        yield {"sdk": sdk, "server": server}


def _decode(threads: int) -> dict[str, float]:
    def speed(name: str, way: Apart | Serving) -> float:
        moments = way.ask("answer", PROMPT, TOKENS)
        assert len(moments) > TOKENS * 0.9, f"{name} gave {len(moments)} pieces"
        return (len(moments) - 1) / float(moments[-1] - moments[0])

    with _ways(threads, 1) as ways:
        return _ratio(medians_in_turns(ways, speed, ROUNDS, digits=1))


def _together(threads: int) -> dict[str, float]:
    def speed(name: str, way: Apart | Serving) -> float:
        began = time.perf_counter()
        made = way.ask("streams", PROMPTS, TOKENS_EACH)
        return float(made) / (time.perf_counter() - began)

    with _ways(threads, len(PROMPTS)) as ways:
        return _ratio(medians_in_turns(ways, speed, ROUNDS, digits=1))


def _ratio(medians: dict[str, float]) -> dict[str, float]:
    return {
        "ratio": medians["server"] / medians["sdk"],
        "sdk_tokens_per_second": medians["sdk"],
        "server_tokens_per_second": medians["server"],
    }


def _first(threads: int) -> dict[str, float]:
    # A prompt that was read before is not read again: each time it is another, for both alike.
    numbers = {name: itertools.count() for name in ("sdk", "server")}

    def seconds(name: str, way: Apart | Serving) -> float:
        return float(way.ask("first", f"{next(numbers[name])} herons stand. How many are there?"))

    with _ways(threads, 1) as ways:
        medians = medians_in_turns(ways, seconds, FIRST_ROUNDS)
    return {
        "later_ms": (medians["server"] - medians["sdk"]) * 1e3,
        "sdk_ms": medians["sdk"] * 1e3,
        "server_ms": medians["server"] * 1e3,
        "rounds": FIRST_ROUNDS,
    }


async def _memory() -> dict[str, Any]:
    """Hold streams open that say nothing, and have texts embedded meanwhile."""
    with Serving(_EMBED, "--max-requests", str(STREAMS + 100)) as server:
        lines = [await Line.open(server)]
        for number in range(A_SECOND * 2):  # what is made once is there before it begins
            await _embed(lines, number, server)
        before = server.rss()
        streams = []
        for _ in range(STREAMS):
            stream = await Line.open(server)
            head = await stream.ask("GET", "/api/models/events")
            assert b" 200 " in head.split(b"\r\n")[0], head
            streams.append(stream)
        opened = server.rss()
        watched = await _minute(lines, server)
        for line in (*lines, *streams):
            await line.close()
    # The first tenth and the last: what grows shows between them, whatever comes and goes.
    tenth = max(1, len(watched) // 10)
    begin, end = max(watched[:tenth]), max(watched[-tenth:])
    return {
        "end_ratio_to_begin": end / begin,
        "before_mib": before / MIB,
        "with_streams_mib": opened / MIB,
        "begin_mib": begin / MIB,
        "end_mib": end / MIB,
        "peak_mib": max(watched) / MIB,
        "kib_a_stream": (opened - before) / STREAMS / 1024,
        "streams": STREAMS,
        "embeddings_a_second": A_SECOND,
        "seconds": SECONDS,
    }


async def _minute(lines: list[Line], server: Serving) -> list[int]:
    """Ask as often a second as it says, on time, and look at the memory meanwhile."""
    loop = asyncio.get_running_loop()
    began, running, watched = loop.time(), set[asyncio.Task[None]](), list[int]()
    for number in range(SECONDS * A_SECOND):
        await asyncio.sleep(began + number / A_SECOND - loop.time())
        task = loop.create_task(_embed(lines, number, server))
        running.add(task)
        task.add_done_callback(running.discard)
        if number % 10 == 0:
            watched.append(server.rss())
    await asyncio.gather(*running)
    late = loop.time() - began - SECONDS
    assert late < SECONDS / 10, f"the server fell {late:.1f} seconds behind"
    return watched


async def _embed(lines: list[Line], number: int, server: Serving) -> None:
    line = lines.pop() if lines else await Line.open(server)
    head = await line.ask("POST", "/v1/embeddings", {"input": f"the heron number {number}"})
    body = await line.rest(head)
    assert b" 200 " in head.split(b"\r\n")[0], body
    lines.append(line)
