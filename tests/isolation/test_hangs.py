"""Worker processes that hang, that do not stop, and that only seem to."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from blazen import BackendCrashedError, InferenceError, Isolation
from blazen.isolation import worker
from blazen.types.live import LiveAudio
from tests.isolation.watching import WAIT, gone, until

WORDS = "one two three four"


@pytest.fixture
def go_on(monkeypatch):
    """Puts the clock forward by which this side looks after its workers."""
    late, true = 0.0, worker.time.monotonic

    class Clock:
        monotonic = staticmethod(lambda: true() + late)

    def go_on(seconds):
        nonlocal late
        late += seconds

    monkeypatch.setattr(worker, "time", Clock)
    return go_on


@pytest.mark.long
async def test_silence(trouble, ear, tmp_path):
    """With Python's lock held by the engine, or the whole process stopped, no sign of life comes.

    A process that is continued in time goes on.
    """
    rules = Isolation(silence=6)  # it may start slowly, on a busy machine
    holding, stopped, napping = (trouble(isolation=rules) for _ in range(3))
    await asyncio.gather(holding.load(), stopped.load(), napping.load())
    pids = holding.pid, stopped.pid, napping.pid
    asked = [
        asyncio.create_task(holding.complete("prefill hold")),
        asyncio.create_task(stopped.complete("prefill wait")),
    ]
    await ear.pid_at("prefill")
    os.kill(pids[1], signal.SIGSTOP)
    os.kill(pids[2], signal.SIGSTOP)
    await asyncio.sleep(0.2)
    late = asyncio.create_task(napping.complete("hello"))
    await asyncio.sleep(0.2)
    os.kill(pids[2], signal.SIGCONT)
    assert (await late).content == WORDS
    for answer in asked:
        with pytest.raises(BackendCrashedError, match="gave no sign of life for 6 s"):
            await answer
    assert gone(pids[0])
    assert gone(pids[1])
    assert napping.pid == pids[2]
    assert (await holding.complete("hello")).content == WORDS


async def test_patience(trouble):
    model = trouble(isolation=Isolation(patience=2))
    await model.load()
    with pytest.raises(BackendCrashedError, match="went 2 s without a piece"):
        await model.complete("mid-stream ignore")
    assert (await model.complete("hello")).content == WORDS


async def test_patience_is_not_for_those_who_wait_for_the_reader(trouble):
    model = trouble(isolation=Isolation(patience=1))
    async with model.complete_stream("endless") as stream:
        await stream.__anext__()
        pid = model.pid
        await asyncio.sleep(2.5)
        await stream.__anext__()
    assert model.pid == pid


async def test_cancelling_is_polite_first(trouble, ear):
    model = trouble()
    asked = asyncio.create_task(model.complete("mid-stream wait"))
    pid = await ear.pid_at("mid-stream")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (await model.complete("hello")).content == WORDS
    assert model.pid == pid


async def test_what_does_not_stop_is_ended_and_that_is_no_crash(trouble, ear):
    model = trouble(isolation=Isolation(grace=0.3, restarts=0))
    for stage in ("prefill", "mid-stream"):
        ear.records.clear()
        asked = asyncio.create_task(model.complete(f"{stage} ignore"))
        pid = await ear.pid_at(stage)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        until(lambda pid=pid: gone(pid))
        await ear.hears("did not stop a request within 0.3 s")
        assert (await model.complete("hello")).content == WORDS


async def test_leaving_a_stream_stops_the_engine(trouble):
    model = trouble()
    async for _ in model.complete_stream("endless"):
        break
    made = -1
    while made != (made := await model.do("made")):
        await asyncio.sleep(0.05)


async def test_an_unload_that_hangs_is_ended(trouble, ear):
    model = trouble(unload="ignore", isolation=Isolation(grace=0.3))
    await model.load()
    pid = model.pid
    await model.unload()
    assert gone(pid)
    assert not model.is_loaded


async def test_unloading_while_a_stream_is_read(trouble):
    model = trouble()
    stream = await model.complete_stream("hello")
    pid = model.pid
    await asyncio.wait_for(model.unload(), WAIT)
    assert gone(pid)
    assert (await stream.collect()).content == WORDS


async def test_a_stop_from_within_is_an_error(trouble):
    from tests.isolation.engines import Unhappy

    with pytest.raises(InferenceError, match="CancelledError"):
        await trouble(Unhappy).do("pid")


async def test_an_app_that_stood_still_does_not_take_it_for_silence(trouble, go_on):
    """As under a debugger, or after Ctrl-Z: only this side's clock went on."""
    model = trouble(isolation=Isolation(silence=30))
    await model.load()
    pid = model.pid
    for _ in range(3):
        go_on(100)
        await asyncio.sleep(0.6)  # it is looked after four times a second
        assert (await model.complete("hello")).content == WORDS
    assert model.pid == pid


@pytest.mark.needs("audio")
async def test_live_sound_that_pauses_is_not_the_engines_silence(ear):
    from blazen.isolation.model import isolate
    from blazen.testing.echo_speech import EchoTranscription, EchoTTS

    spoken = await EchoTTS().speak("hello there")

    async def slowly():
        yield spoken
        await asyncio.sleep(1.5)
        yield spoken

    async with isolate(EchoTranscription(), Isolation(patience=1)) as model:
        pid = model.pid
        answer = await model.transcribe(LiveAudio(slowly()))
        assert answer.text.split() == ["hello", "therehello", "there"]
        assert model.pid == pid


async def test_patience_is_for_what_comes_in_pieces(trouble, go_on):
    model = trouble(isolation=Isolation(patience=10, silence=0))
    await model.load()
    pid = model.pid
    asked = [asyncio.create_task(model.do("meet")) for _ in range(2)]
    await model.do("pid")
    go_on(100)
    await asyncio.sleep(0.6)  # it is looked after four times a second
    await asyncio.gather(*asked, model.do("meet"))
    assert model.pid == pid
