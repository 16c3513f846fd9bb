"""What a worker process is given, what it is denied, and the one that waits."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

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
    monkeypatch.delenv("BLAZEN_THREADS", raising=False)
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


def test_a_token_that_was_saved_at_a_login_is_not_used_unasked():
    name = "HF_HUB_DISABLE_IMPLICIT_TOKEN"
    assert spawn.environment(Isolation())[name] == "1"
    assert name not in spawn.environment(Isolation(env={"HF_TOKEN": "for-this-one"}))
    assert spawn.environment(Isolation(env={name: "0"}))[name] == "0"


def test_threads_are_not_more_than_the_app_gives_its_own_engines(monkeypatch):
    monkeypatch.delenv("BLAZEN_THREADS", raising=False)
    assert spawn.environment(Isolation(threads=64))["BLAZEN_THREADS"] == "64"
    monkeypatch.setenv("BLAZEN_THREADS", "2")
    assert spawn.environment(Isolation(threads=64))["BLAZEN_THREADS"] == "2"
    assert spawn.environment(Isolation(threads=1))["BLAZEN_THREADS"] == "1"


async def test_what_is_no_path_crosses_as_it_is(trouble, monkeypatch):
    """As a name that stands for the import hook of an editable install."""
    monkeypatch.setattr(sys, "path", ["", *sys.path, "__editable__.some.hook"])
    model = trouble()
    await model.load()
    line = Path(f"/proc/{model.pid}/cmdline").read_text()
    assert f'["{Path.cwd()}", ' in line
    assert ', "__editable__.some.hook"]' in line


async def test_limits_hold_from_the_start_for_every_thread(trouble):
    model = trouble(isolation=Isolation(memory="4GiB", nice=1, spare=True))
    sized = (await model.footprint()).resident["cpu"] - INTERPRETER_BYTES
    limits = Path(f"/proc/{sized}/limits").read_text().splitlines()
    found = {line[:26].strip(): line[26:].split()[:2] for line in limits}
    assert found["Max address space"] == [str(4 << 30)] * 2
    assert found["Max core file size"] == ["0", "0"]
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 1)
    threads = [int(task.name) for task in Path(f"/proc/{sized}/task").iterdir()]
    assert {os.getpriority(os.PRIO_PROCESS, one) for one in threads} == {nice}
    apart = trouble(isolation=Isolation(memory="5GiB", nice=1, spare=True))
    await apart.load()
    assert apart.pid != sized


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
    until(lambda: gone(spare))  # nobody could take it any more


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


async def test_a_spare_is_not_taken_from_another_folder(trouble, monkeypatch, tmp_path):
    (tmp_path / "one" / "sub").mkdir(parents=True)
    (tmp_path / "two" / "sub").mkdir(parents=True)
    model = trouble(isolation=Isolation(spare=True, cwd="sub"))
    outside = Held.children()
    for place in ("one", "two"):
        monkeypatch.chdir(tmp_path / place)
        assert await model.do("cwd") == str(tmp_path / place / "sub")
        others(outside, model)
        await model.unload()


def test_spares_that_do_not_end_hold_up_the_apps_end_for_a_time_only(monkeypatch):
    stuck = SimpleNamespace(dismiss=lambda reason: None, ended=Future())
    monkeypatch.setattr(spares, "_LONGEST", 0.01)
    monkeypatch.setitem(spares._waiting, "some:One", (None, SimpleNamespace(worker=stuck)))
    spares.dismiss()
    assert not spares._waiting
