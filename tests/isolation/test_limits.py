"""What a worker process is given, what it is denied, and the one that waits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from blazen import (
    BackendCrashedError,
    InferenceError,
    Isolation,
    LoadError,
    UnsupportedError,
    ValidationError,
)
from blazen.isolation import spares, spawn
from blazen.isolation.model import isolate
from blazen.isolation.pools import INTERPRETER_BYTES
from tests.isolation.engines import Trouble
from tests.isolation.watching import Held, gone, until

WORDS = "one two three four"


async def test_the_environment_holds_no_secrets(trouble, monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_THING", "DB_PASSWORD"):
        monkeypatch.setenv(name, "hidden-value")
    monkeypatch.setenv("HF_HOME", "/somewhere")
    given = Isolation(env={"WANTED": "yes"}, threads=3, gpus=(), cwd=tmp_path)
    model = trouble(isolation=given)
    found = await model.do("environ")
    assert "hidden-value" not in found.values()
    assert "hidden-value" not in Path(f"/proc/{model.pid}/environ").read_text()
    assert "hidden-value" not in Path(f"/proc/{model.pid}/cmdline").read_text()
    assert found["HF_HOME"] == "/somewhere"
    assert found["WANTED"] == "yes"
    assert found["BLAZEN_THREADS"] == found["OMP_NUM_THREADS"] == "3"
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert await model.do("cwd") == str(tmp_path)


def test_gpus_are_counted_among_those_that_are_seen(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert spawn.environment(Isolation(gpus=(1, 2)))["CUDA_VISIBLE_DEVICES"] == "1,2"
    assert "CUDA_VISIBLE_DEVICES" not in spawn.environment(Isolation())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    assert spawn.environment(Isolation())["CUDA_VISIBLE_DEVICES"] == "4,GPU-7"
    assert spawn.environment(Isolation(gpus=(1,)))["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert spawn.environment(Isolation(gpus=()))["CUDA_VISIBLE_DEVICES"] == ""
    with pytest.raises(ValidationError, match="more than CUDA_VISIBLE_DEVICES='4,GPU-7'"):
        spawn.environment(Isolation(gpus=(2,)))


@pytest.mark.long
async def test_memory_and_niceness(trouble):
    model = trouble(isolation=Isolation(memory="2GiB", nice=1))
    assert await model.do("reserve", 100 << 20) == 100 << 20
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert await model.do("nice") == min(19, mine + 1)
    pid = model.pid
    with pytest.raises((InferenceError, BackendCrashedError), match=r"MemoryError|memory"):
        await model.complete("prefill memory")
    with pytest.raises(InferenceError, match="MemoryError"):
        await model.do("reserve", 8 << 30)
    assert model.pid == pid


def test_no_worker_without_a_python_to_start(monkeypatch):
    before = Held()
    monkeypatch.setattr(spawn.sys, "frozen", True, raising=False)
    with pytest.raises(UnsupportedError, match="starts another Python"):
        spawn.start(Isolation())
    monkeypatch.delattr(spawn.sys, "frozen")
    with pytest.raises(FileNotFoundError):
        spawn.start(Isolation(cwd="/no/such/folder"))
    before.check()


def others(outside, model):
    """Wait until a spare is there."""
    until(lambda: Held.children() - outside - {model.pid}, "a spare")
    return Held.children() - outside - {model.pid}


async def test_a_spare_is_taken_and_followed_by_another(trouble):
    model = trouble(isolation=Isolation(spare=True))
    outside = Held.children()
    await model.load()
    (spare,) = others(outside, model)
    first = model.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: not model.is_loaded)
    assert (await model.complete("hello")).content == WORDS
    assert model.pid == spare
    (spare,) = others(outside, model)
    await model.unload()
    os.kill(spare, signal.SIGKILL)  # one that dies while it waits is nobody's loss
    assert (await model.complete("hello")).content == WORDS
    assert model.pid != spare
    spares.dismiss()
    assert Held.children() - outside == {model.pid}


async def test_a_spare_has_imported_what_the_one_before_it_had(trouble):
    model = trouble(isolation=Isolation(spare=True))
    outside = Held.children()
    await model.do("import", "colorsys")
    (spare,) = others(outside, model)
    await model.unload()
    assert "colorsys" in await model.do("imported")
    assert model.pid == spare
    alone = trouble()
    assert "colorsys" not in await alone.do("imported")


async def test_a_process_says_what_a_model_will_take(trouble):
    model = trouble()
    outside = Held.children()
    sized = (await model.footprint()).resident["cpu"] - INTERPRETER_BYTES
    assert sized != os.getpid()
    assert gone(sized)
    assert not model.is_loaded
    await model.load()
    assert (await model.footprint()).resident["cpu"] - INTERPRETER_BYTES == model.pid
    assert Held.children() - outside == {model.pid}


async def test_an_engine_that_dies_as_it_is_sized_takes_nothing_along(trouble):
    model = trouble(size="abort")
    with pytest.raises(BackendCrashedError, match="SIGABRT"):
        await model.footprint()
    assert (await model.complete("hello")).content == WORDS
    unwilling = trouble(size="raise")
    with pytest.raises(LoadError, match="the engine is sad"):
        await unwilling.footprint()


async def test_the_process_that_sized_a_model_is_the_spare_that_loads_it(trouble):
    model = trouble(isolation=Isolation(spare=True))
    sized = (await model.footprint()).resident["cpu"] - INTERPRETER_BYTES
    assert not gone(sized)
    await model.load()
    assert model.pid == sized


async def test_a_spare_is_not_taken_by_who_wants_another_start(trouble, monkeypatch):
    model = trouble(isolation=Isolation(spare=True))
    outside = Held.children()
    await model.load()
    (spare,) = others(outside, model)
    await model.unload()
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    assert (await model.do("environ"))["HF_HOME"] == "/elsewhere"
    assert model.pid != spare
    assert not gone(spare)


async def test_a_spare_that_cannot_be_started_fails_nothing(trouble, monkeypatch, ear):
    model = trouble(isolation=Isolation(spare=True))

    def refuse(isolation):
        raise OSError("no process can be started")

    with monkeypatch.context() as patch:
        true = spawn.start
        started = []

        def once(isolation):
            return refuse(isolation) if started else started.append(1) or true(isolation)

        patch.setattr(spawn, "start", once)
        assert (await model.complete("hello")).content == WORDS
        await ear.hears("no spare could be started")


async def test_a_thread_that_cannot_be_started_leaves_no_process(trouble, monkeypatch):
    from blazen.isolation import worker

    before = Held()
    for refused in ("talk", "listen"):

        class Thread(worker.threading.Thread):
            refused_role = refused

            def start(self):
                if self.name.endswith(self.refused_role):
                    raise RuntimeError("can't start new thread")
                super().start()

        with monkeypatch.context() as patch:
            patch.setattr(worker.threading, "Thread", Thread)
            with pytest.raises(RuntimeError):
                worker.Worker(Isolation())
        before.check()


def test_what_cannot_run_elsewhere_is_refused_at_once():
    class Local(Trouble):
        pass

    with pytest.raises(ValidationError, match="runs in a process of its own already"):
        isolate(isolate(Trouble(), Isolation()), Isolation())
    with pytest.raises(ValidationError, match="can't run in a process of its own"):
        isolate(object(), Isolation())
    with pytest.raises(ValidationError, match="could not import it"):
        isolate(Local(), Isolation())
