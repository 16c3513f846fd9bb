"""A model in a process of its own is used as one in this process is."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from blazen import BackendCrashedError, Isolation, ModelManager, ValidationError
from blazen.errors import LoadError
from blazen.isolation import spawn
from blazen.isolation.model import isolate, isolated_class
from blazen.middleware import with_fallback, with_retry
from blazen.protocols.model import Model
from blazen.testing import EchoModel
from blazen.types.completion import CompletionOptions, ModelResponse
from blazen.types.live import LiveAudio
from tests.isolation.engines import Trouble
from tests.isolation.watching import WAIT, Held, until

WORDS = "one two three four"


class Told(Trouble):
    """One with methods of all shapes."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.voices = ["a", "b"]
        self.limit: int | None = None

    def complete_stream(self, messages: Any, options: Any = None, **kwargs: Any) -> Any:
        """Take keywords of its own."""
        assert set(kwargs) <= {"seed"}, kwargs
        return super().complete_stream(messages, options)

    async def starred(self, *numbers: int) -> Any:
        """Give numbers back."""
        for number in numbers:
            yield number

    async def named(self, text: str, /, **more: int) -> Any:
        """Give back what can't be passed by name, and what can only be."""
        yield text, more

    def share(self, limit: int) -> None:
        """Set something, at any time."""
        if limit < 0:
            raise ValueError("a limit below zero")
        self.limit = limit

    def refuse(self) -> None:
        """Be told only as long as it is not loaded."""
        if self.is_loaded:
            raise RuntimeError("too late")

    async def shared(self) -> int | None:
        """Give what was set."""
        return self.limit

    async def hear(self, sound: LiveAudio) -> int:
        """Count the blocks of a sound."""
        return sum([1 async for _ in sound.blocks(sample_rate=16_000)])


class One(Trouble):
    """One that takes a request at a time."""

    def _width(self) -> int:
        return 1


@dataclass
class Bird:
    name: str


@dataclass(frozen=True)
class DuckOptions:
    name: str = "duck"


class Duck(Model):
    """One of no class of ours, whose answers are no streams."""

    Options = DuckOptions
    device = "cpu"
    memory_bytes = 1

    def __init__(self, options: DuckOptions) -> None:
        self.options = options
        self.is_loaded = False

    async def load(self, *, on_progress: Any = None) -> None:
        self.is_loaded = True

    async def unload(self) -> None:
        self.is_loaded = False

    async def complete(self, messages: Any, options: Any = None) -> ModelResponse:
        wanted = CompletionOptions.of(options).response_format
        text = '{"name": "robin"}'
        return ModelResponse(content=text, parsed=wanted.parse(text))


async def test_a_model_that_cannot_be_sized_leaves_no_process(trouble):
    before = Held.children()
    model = trouble(payload=threading.Lock())
    for _ in range(2):
        with pytest.raises(LoadError, match="can't go to another process"):
            await model.footprint()
    assert Held.children() == before


async def test_arguments_of_streams_cross_as_they_were_given(trouble):
    model = trouble(Told)
    assert (await model.complete_stream("hello", seed=1).collect()).content == WORDS
    assert [item async for item in model.starred(1, 2, 3)] == [1, 2, 3]
    assert [item async for item in model.named("x", n=1)] == [("x", {"n": 1})]


async def test_a_method_that_is_a_coroutine_reads_into_a_class_of_the_caller():
    @dataclass
    class Local:
        name: str

    model = isolate(Duck(DuckOptions()), Isolation())
    for shape in (Bird, Local):
        answer = await model.complete("a bird", {"response_format": shape})
        assert answer.parsed == shape("robin")
    await model.unload()


@pytest.mark.needs("audio")
async def test_a_method_that_is_a_coroutine_hears_live_sound(trouble):
    async def pieces() -> Any:
        for _ in range(3):
            yield b"\0\0" * 1600

    model = trouble(Told)
    heard = await asyncio.wait_for(model.hear(LiveAudio(pieces(), sample_rate=16_000)), WAIT)
    assert heard == await Told().hear(LiveAudio(pieces(), sample_rate=16_000))
    assert await model.hear(sound=LiveAudio(pieces(), sample_rate=16_000)) == heard


class Hosted(Model):
    """Elsewhere: it has options, and nothing to load."""

    Options = DuckOptions


def test_a_model_elsewhere_is_refused_as_it_is_made():
    with pytest.raises(ValidationError, match="Hosted can't run in a process of its own"):
        isolated_class(Hosted)


async def test_what_it_is_told_before_a_load_and_before_a_crash_holds(trouble):
    model = trouble(Told)
    model.share(3)
    assert await model.shared() == 3
    model.share(4)
    assert await model.shared() == 4
    os.kill(model.pid, 9)
    until(lambda: not model.is_loaded)
    assert await model.shared() == 4


async def test_what_fails_that_it_is_told_is_logged_by_its_name(trouble, ear):
    model = trouble(Told)
    with pytest.raises(ValueError, match="below zero"):
        model.share(-1)
    await model.load()
    model.refuse()
    heard = await asyncio.wait_for(ear.hears("trouble: refuse failed"), WAIT)
    assert "too late" in heard
    assert await model.shared() is None


async def test_its_size_is_told_while_it_is_at_work(trouble):
    model = trouble(One)
    await model.load()
    async with model.complete_stream("endless") as stream:
        await anext(stream)
        found = await asyncio.wait_for(model.footprint(), WAIT)
    assert found.resident["cpu"] > model.pid


async def test_crashes_as_it_is_sized_count(trouble, monkeypatch):
    starts = []
    true = spawn.start

    def start(isolation: Isolation) -> Any:
        starts.append(1)
        return true(isolation)

    monkeypatch.setattr(spawn, "start", start)
    model = trouble(isolation=Isolation(restarts=0), size="abort")
    with pytest.raises(BackendCrashedError, match="SIGABRT"):
        await model.footprint()
    for ask in (model.footprint, model.load):
        with pytest.raises(BackendCrashedError, match="1 times in a row"):
            await ask()
    assert len(starts) == 1


async def test_to_unload_ends_a_pause(trouble, monkeypatch):
    model = trouble(load="exit")
    paused = threading.Event()

    def pause() -> float:
        paused.set()
        return 10.0 * WAIT

    monkeypatch.setattr(model._restarts, "pause", pause)
    loading = asyncio.create_task(model.load())
    assert await asyncio.to_thread(paused.wait, WAIT)
    await asyncio.wait_for(model.unload(), WAIT)
    with pytest.raises(LoadError, match="loading was stopped"):
        await loading


async def test_nothing_of_a_process_is_kept_after_it(trouble):
    model = trouble()
    for end in ("unload", "crash"):
        await model.load(on_progress=lambda made: None)
        assert not model._watched
        if end == "unload":
            await model.unload()
        else:
            os.kill(model.pid, 9)
            until(lambda: not model.is_loaded)
        assert model._worker is None


async def test_who_hears_no_more_may_say_so_twice(trouble):
    model = trouble()
    heard: list[Any] = []
    end, _ = model.on_lost(heard.append), model.on_lost(heard.append)
    end()
    end()
    await model.load()
    os.kill(model.pid, 9)
    until(lambda: heard)
    assert len(heard) == 1


async def test_what_a_backend_sets_as_it_is_made_can_be_read(trouble):
    model = trouble(Told)
    assert model.voices == ["a", "b"]
    await model.load()
    assert model.voices == ["a", "b"]
    assert model.limit is None
    for name in ("nothing", "_told_nobody"):
        assert not hasattr(model, name)


async def test_a_manager_says_that_a_wrapped_model_stays_here(caplog):
    manager = ModelManager(pools={"cpu": "1GiB"}, measure=False, learn=False, isolation="process")
    caplog.set_level(logging.WARNING, "blazen.manager")
    await manager.register("apart", with_retry(isolate(EchoModel(), Isolation())), "1MiB")
    await manager.register("plain", EchoModel(), "1MiB")
    assert "wrapped" not in caplog.text
    for name, model in (
        ("one", with_retry(EchoModel())),
        ("two", with_retry(with_fallback(EchoModel(), isolate(EchoModel(), Isolation())))),
    ):
        caplog.clear()
        await manager.register(name, model, "1MiB")
        assert caplog.text.count("isolate the model, then wrap it") == 1
        assert manager.get(name) is model


@pytest.mark.parametrize(
    "setting",
    [
        {"env": None},
        {"env": ["A=1"]},
        {"env": {"": "x"}},
        {"env": {"A": "a\0b"}},
        {"env": {"A\0": "a"}},
        {"cwd": 5},
        {"cwd": ""},
        {"cwd": "a\0b"},
        {"cwd": b"/"},
        {"spare": "no"},
        {"memory": "255MiB"},
    ],
)
def test_settings_that_no_process_can_have_are_refused(setting):
    with pytest.raises(ValidationError, match=next(iter(setting))):
        Isolation(**setting)


def test_settings_show_no_secret_and_stay_as_they_were():
    env = {"HF_TOKEN": "hf_secret"}
    settings = Isolation(env=env)
    assert "hf_secret" not in repr(settings)
    with pytest.raises(ValidationError) as caught:
        Isolation(env={"HF=TOKEN": "hf_secret"})
    assert "hf_secret" not in str(caught.value)
    env["MORE"] = "1"
    assert settings.env == {"HF_TOKEN": "hf_secret"}
    assert settings != Isolation()
    assert hash(settings) == hash(Isolation(env={"HF_TOKEN": "hf_secret"}))
