"""A worker process that dies, at every stage and of every cause: the app goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time

import pytest

from blazen import BackendCrashedError, Isolation
from blazen.errors import LoadError
from blazen.isolation import spawn, worker
from blazen.isolation.model import isolate
from blazen.isolation.restarts import Restarts
from tests.isolation.engines import Trouble, TroubleOptions
from tests.isolation.watching import WAIT, Held, gone, until

WORDS = "one two three four"
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("stage", ["load", "idle", "prefill", "mid-stream", "unload"])
async def test_a_signal_at_any_stage(trouble, ear, tmp_path, stage, number):
    once = tmp_path / "once"
    held = {stage: "wait"} if stage in ("load", "unload") else {}
    model = trouble(once=once, **held)
    if stage != "load":
        await model.load()
        first = model.pid
    if stage == "idle":
        os.kill(first, number)
        until(lambda: not model.is_loaded)
        assert (model.pid, model.memory_bytes) == (None, None)
    elif stage == "unload":
        unloading = asyncio.create_task(model.unload())
        os.kill(await ear.pid_at(stage), number)
        await unloading
    else:
        stream = model.complete_stream(f"{stage} wait")
        asked = asyncio.create_task(model.load() if stage == "load" else _read(stream))
        first = await ear.pid_at(stage)
        while stage == "mid-stream" and not stream.response.content.endswith("two "):
            await asyncio.sleep(0.005)  # what is logged may come before the first pieces
        began = time.monotonic()
        os.kill(first, number)
        with pytest.raises(BackendCrashedError, match=f"(?s)'?trouble.*{number.name}") as caught:
            await asked
        assert time.monotonic() - began < 5  # a second, on a machine that has nothing else to do
        assert caught.value.signal == number
        assert caught.value.code is None
        assert stream.response.content == ("one two " if stage == "mid-stream" else "")
    assert not model.is_loaded
    until(lambda: gone(first))
    assert (await model.complete("go on")).content == WORDS
    assert model.pid != first


@pytest.mark.parametrize(
    "fault, signals, words",
    [
        ("segv", signal.SIGSEGV, "Segmentation fault"),
        ("abort", signal.SIGABRT, "Aborted"),
        ("kill", signal.SIGKILL, ""),
        ("exit", None, ""),
    ],
)
@pytest.mark.parametrize("stage", ["load", "mid-stream"])
async def test_a_fault_of_the_engine(trouble, tmp_path, stage, fault, signals, words):
    held = {"load": fault} if stage == "load" else {}
    model = trouble(once=tmp_path / "once", **held)
    with pytest.raises(BackendCrashedError) as caught:
        await model.complete(f"{stage} {fault}")
    assert caught.value.signal == signals
    assert caught.value.code == (3 if fault == "exit" else None)
    assert words in caught.value.output
    assert words in str(caught.value)
    assert (await model.complete("go on")).content == WORDS


async def test_a_fault_in_unloading_is_nobody_elses(trouble):
    model = trouble(unload="segv")
    await model.load()
    pid = model.pid
    await model.unload()
    assert gone(pid)


async def test_a_crash_fails_all_that_are_under_way_each_with_its_own_error(trouble, ear):
    model = trouble()
    asked = [asyncio.create_task(model.complete("mid-stream wait")) for _ in range(2)]
    asked.append(asyncio.create_task(model.do("wait")))
    await ear.pid_at("mid-stream", times=2)
    os.kill(await ear.pid_at("wait"), signal.SIGKILL)
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in errors] == [BackendCrashedError] * 3
    assert len({id(error) for error in errors}) == 3


async def test_requests_in_the_moment_of_a_crash_are_answered_or_told(trouble):
    """None of them may hang, none may wait for a process that is gone, none may hear of this."""
    model = trouble(parallel=64)
    await model.load()
    for _ in range(4):
        pid = model.pid
        asked = [asyncio.create_task(model.complete("hello")) for _ in range(5)]
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        for _ in range(20):
            asked.append(asyncio.create_task(model.complete("hello")))
            await asyncio.sleep(0.002)
        for answer in await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), WAIT):
            if not isinstance(answer, BackendCrashedError):
                assert answer.content == WORDS
        assert (await model.complete("hello")).content == WORDS
        assert model.pid != pid


async def test_a_process_that_dies_as_its_load_ends(trouble, monkeypatch):
    """The model is not left with a process that is gone."""
    model = trouble()
    begin = type(model)._open

    def dead_already(self, job, report):
        begun = begin(self, job, report)
        os.kill(begun.pid, signal.SIGKILL)
        until(begun.ended.done)
        return begun

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "_open", dead_already)
        await model.load()
    until(lambda: not model.is_loaded)
    assert (await model.complete("go on")).content == WORDS


async def _read(stream):
    async for _ in stream:  # who wants the whole gets no piece before the end
        pass


async def test_what_the_engine_has_started_goes_with_it(trouble):
    model = trouble()
    for action in ("start another", "fork"):
        # Each holds the other end of all that the process held: only its own end tells of it.
        grandchild = await model.do(action)
        os.kill(model.pid, signal.SIGKILL)
        until(lambda: not model.is_loaded)
        until(lambda pid=grandchild: gone(pid))
    grandchild = await model.do("start another")
    await model.unload()
    until(lambda: gone(grandchild))


@pytest.mark.long
async def test_two_hundred_crashes_leave_nothing(ear):
    """As it boots, as it loads, idle, and in the midst of an answer."""
    once = isolate(Trouble(), Isolation())
    await once.complete("what is made once, such as a clock of the loop")
    await once.unload()
    before = Held()
    crashed = 0
    for number in range(200):
        model = isolate(Trouble(TroubleOptions(parallel=1)), Isolation())
        deep = number % 20 == 0
        asked = asyncio.create_task(model.complete("mid-stream wait" if deep else "hello"))
        if deep:
            await ear.pid_at("mid-stream")
            ear.records.clear()
        while (pid := _newest_child(before)) is None:
            await asyncio.sleep(0.001)
        if not deep:
            await asyncio.sleep(number % 10 * 0.004)
        os.kill(pid, signal.SIGKILL)
        try:
            answer = await asyncio.wait_for(asked, WAIT)
        except BackendCrashedError:
            crashed += 1
        else:  # where this process stood still for a while
            assert answer.content == WORDS
    before.check()
    assert crashed > 100


def _newest_child(before):
    new = Held.children() - before.found["children"]
    return new.pop() if new else None


async def test_a_crash_loop_is_slowed_and_then_rests(trouble):
    model = trouble(load="exit", isolation=Isolation(restarts=1))
    for _ in range(2):
        with pytest.raises(BackendCrashedError, match="ended with code 3"):
            await model.load()
    with pytest.raises(BackendCrashedError, match="has crashed 2 times in a row: it is not"):
        await model.load()


def test_pauses_between_restarts():
    now = [100.0]
    restarts = Restarts(3, clock=lambda: now[0])
    pauses = []
    for _ in range(3):
        restarts.crashed()
        pauses.append(round(restarts.pause(), 3))
        assert restarts.rest() == 0
    assert pauses == [0, 0.1, 0.2]
    restarts.crashed()
    assert restarts.rest() == 30
    now[0] += 31
    assert (restarts.rest(), restarts.pause()) == (0, 0)  # one more try
    restarts.crashed()
    assert restarts.rest() == 30
    restarts.worked()
    assert (restarts.rest(), restarts.pause()) == (0, 0)


async def test_a_load_that_fails_or_is_cancelled_is_no_crash(trouble, ear):
    model = trouble(load="raise", isolation=Isolation(restarts=0))
    for _ in range(3):
        with pytest.raises(LoadError, match="the engine is sad"):
            await model.load()
    held = trouble(load="ignore", isolation=Isolation(restarts=0))
    for _ in range(3):
        ear.records.clear()
        loading = asyncio.create_task(held.load())
        pid = await ear.pid_at("load")
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert gone(pid)
        assert not any("worker process" in message for message in ear.messages)


@pytest.mark.parametrize("kind", ["raises", "waits"])
async def test_an_apps_own_log_handler_keeps_nobody_from_hearing_of_a_crash(trouble, ear, kind):
    model = trouble()
    asked = asyncio.create_task(model.do("wait"))
    pid = await ear.pid_at("wait")
    called, go_on = threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            called.set()
            if kind == "raises":
                raise RuntimeError("a broken handler")
            assert go_on.wait(WAIT)

    handler = Handler()
    logging.getLogger("blazen.isolation").addHandler(handler)
    try:
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendCrashedError):
            await asyncio.wait_for(asked, WAIT / 2)
        assert not model.is_loaded
        until(called.is_set)
        assert (await model.complete("hello")).content == WORDS
    finally:
        go_on.set()
        logging.getLogger("blazen.isolation").removeHandler(handler)


async def test_where_the_app_ignores_its_children_their_end_is_not_known(trouble, ear):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        model = trouble()
        asked = asyncio.create_task(model.do("wait"))
        os.kill(await ear.pid_at("wait"), signal.SIGKILL)
        with pytest.raises(BackendCrashedError, match="how it ended is not known") as caught:
            await asked
        assert (caught.value.signal, caught.value.code) == (None, None)
        assert (await model.complete("hello")).content == WORDS
        await model.unload()
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_no_signal_goes_to_a_number_that_was_given_back(trouble, monkeypatch):
    there = []
    true = os.killpg

    def killpg(group, number):
        there.append(not gone(group))
        true(group, number)

    monkeypatch.setattr(spawn.os, "killpg", killpg)
    model = trouble()
    await model.load()
    await model.unload()
    await model.load()
    os.kill(model.pid, signal.SIGKILL)
    until(lambda: not model.is_loaded)
    assert there
    assert all(there)


async def test_a_process_that_does_not_end_though_it_is_killed_holds_up_nobody(
    trouble, ear, monkeypatch
):
    """As one does whose driver, or whose network disk, hangs."""
    model = trouble(isolation=Isolation(grace=0.1))
    other = asyncio.create_task(model.do("wait"))
    ignoring = asyncio.create_task(model.complete("prefill ignore"))
    await ear.pid_at("wait")
    pid = await ear.pid_at("prefill")
    with monkeypatch.context() as patch:
        patch.setattr(spawn.os, "killpg", lambda group, number: None)
        os.kill(pid, signal.SIGSTOP)
        ignoring.cancel()
        with pytest.raises(BackendCrashedError, match="did not stop a request"):
            await asyncio.wait_for(other, worker._LONGEST / 2)
        assert not gone(pid)
        assert not model.is_loaded
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
