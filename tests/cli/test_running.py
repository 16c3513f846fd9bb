"""Commands that wait: what Ctrl-C does to them, and how the program ends."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading

import pytest

from blazen import FinishReason, InferenceTiming, InferenceUsage, ModelResponse
from blazen.cli import ending
from blazen.cli.answering import timings
from blazen.cli.pieces import Pieces
from blazen.cli.running import run_async, stoppable


async def for_ever(seen: list[str]) -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        seen.append("cleaned up")


def test_a_result_is_given() -> None:
    async def nothing() -> None:
        return None

    assert run_async(asyncio.sleep(0, "done")) == "done"
    assert run_async(nothing()) is None


def test_an_interrupt_lets_it_clean_up() -> None:
    seen: list[str] = []

    async def interrupted() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await for_ever(seen)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_async(interrupted())
    assert seen == ["cleaned up"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_does_not_wait() -> None:
    async def stubborn() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(3600)
        finally:
            loop.call_soon(signal.raise_signal, signal.SIGINT)
            await asyncio.sleep(3600)

    with pytest.raises(KeyboardInterrupt):
        run_async(stubborn())


def test_stopping_one_thing_does_not_stop_the_rest() -> None:
    async def both() -> list[object]:
        seen: list[str] = []
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        return [await stoppable(for_ever(seen)), *seen, await stoppable(asyncio.sleep(0, "on"))]

    assert asyncio.run(both()) == [None, "cleaned up", "on"]


def test_who_is_cancelled_otherwise_hears_it() -> None:
    async def cancelled() -> None:
        task = asyncio.ensure_future(stoppable(for_ever([])))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_on_another_thread_it_just_runs() -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(run_async(asyncio.sleep(0, "done"))))
    thread.start()
    thread.join(60)
    assert results == ["done"]


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes break in another way")
def test_what_can_not_be_flushed_is_let_go() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        stream.write("unread")
        assert not ending._flushed(stream)
        stream.flush()  # it goes nowhere now
    assert ending._flushed(None)
    assert ending._flushed(io.StringIO())


def test_timings_in_words() -> None:
    usage = InferenceUsage(10, 5, cached_tokens=4, cost=0.00012)
    timing = InferenceTiming(first_token=0.1, prompt=0.08, decode=0.5, tokens_per_second=10.0)
    answer = ModelResponse(usage=usage, timing=timing, finish_reason=FinishReason.Stop)
    assert timings(answer, 1.5) == [
        "load 1.50 s",
        "first token 0.10 s",
        "prompt 10 tokens (4 of them known) in 0.08 s",
        "answer 5 tokens in 0.50 s",
        "cost $0.000120",
        "10.0 tokens/s",
        "ended by stop",
    ]
    assert timings(ModelResponse()) == []


class Watched(io.StringIO):
    """A stream that someone looks at."""

    def isatty(self) -> bool:
        return True


def test_reasoning_is_for_those_who_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = Pieces()
    pieces.reasoning("hm")
    pieces.content("yes")
    pieces.end()
    assert capsys.readouterr() == ("yes\n", "")
    out, err = Watched(), Watched()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    pieces = Pieces()
    pieces.reasoning("hm\x1b")
    pieces.content("yes\n")
    pieces.end()
    assert out.getvalue() == "yes\n"
    assert "hm" in err.getvalue()
    assert "hm\x1b]" not in err.getvalue()
    assert err.getvalue().endswith("\n\n")
