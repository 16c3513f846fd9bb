"""Models in processes of their own in a manager: its account follows them, also when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blazen import (
    BackendCrashedError,
    BudgetError,
    Footprint,
    Isolation,
    ModelManager,
    ModelResponse,
    ValidationError,
)
from blazen.isolation import spares
from blazen.isolation.backend import IsolatedBackend
from blazen.isolation.model import isolate
from blazen.isolation.pools import outer_device, with_process
from blazen.manager import LearnedFootprints
from blazen.manager.entries import Phase
from blazen.manager.events import EventKind
from blazen.manager.learned import key_of
from blazen.manager.status import ModelStatus, State
from blazen.testing import EchoModel, EchoOptions
from tests.isolation.engines import Trouble, TroubleOptions
from tests.isolation.watching import WAIT, Held
from tests.manager.walk import Tape, Walk

MIB = 1 << 20
CONTEXT = 730 * MIB


class Elsewhere:
    async def complete(self, messages: Any, options: Any = None) -> ModelResponse:
        return ModelResponse(content="over there")


class Handmade:
    """Runs here, and is not built of options."""

    is_loaded = False

    async def load(self) -> None:
        self.is_loaded = True

    async def unload(self) -> None:
        self.is_loaded = False

    async def complete(self, messages: Any, options: Any = None) -> ModelResponse:
        return ModelResponse(content="here")


@pytest.fixture
async def managers(caplog: pytest.LogCaptureFixture) -> Any:
    """Makes managers; at the end they are emptied, and no process is left."""
    caplog.set_level(logging.CRITICAL, "blazen")  # crashes are told, and meant
    made: list[ModelManager] = []

    def make(**settings: Any) -> ModelManager:
        given = {"pools": {"cpu": "8GiB"}, "measure": False, "learn": False, **settings}
        made.append(ModelManager(**given))
        return made[-1]

    before = Held()
    yield make
    for manager in made:
        await asyncio.wait_for(manager.unload_all(), WAIT)
    made.clear()
    spares.dismiss()
    before.check()


def status_of(manager: ModelManager, name: str) -> ModelStatus:
    return next(model for model in manager.status().models if model.id == name)


async def kinds_until(events: Any, last: EventKind) -> list[EventKind]:
    async def listen() -> list[EventKind]:
        heard: list[EventKind] = []
        async for event in events:
            heard.append(event.kind)
            if event.kind is last:
                break
        return heard

    return await asyncio.wait_for(listen(), WAIT)


def kill(model: Any) -> None:
    os.kill(model.pid, signal.SIGKILL)


async def test_the_default_is_for_all_that_can_and_one_entry_may_have_its_own(managers):
    manager = managers(isolation="process")
    loaded, apart = EchoModel(), isolate(EchoModel(), Isolation(nice=1))
    await loaded.load()
    given = {"plain": EchoModel(), "elsewhere": Elsewhere(), "handmade": Handmade()}
    given |= {"loaded": loaded, "apart": apart}
    for name, model in given.items():
        size = None if name == "elsewhere" else "64MiB"
        await manager.register(name, model, size)
    await manager.register("here", EchoModel(), "64MiB", isolation=None)
    await manager.register("nice", EchoModel(), "64MiB", isolation=Isolation(nice=7))
    moved = {name for name in given if manager.get(name) is not given[name]}
    assert moved == {"plain"}
    assert manager.get("plain").isolation == Isolation()
    assert manager.get("nice").isolation == Isolation(nice=7)
    assert type(manager.get("here")) is EchoModel
    answer = await manager.complete("plain", "one two")
    assert answer.content == "one two"
    assert manager.get("plain").pid in Held.children()
    assert not given["plain"].is_loaded


async def test_one_entry_is_isolated_or_it_is_said_why_not(managers):
    manager = managers()
    loaded = EchoModel()
    await loaded.load()
    for model, words in (
        (Elsewhere(), "takes a model on this machine"),
        (Handmade(), "built of options"),
        (loaded, "unload it first"),
        (isolate(EchoModel(), Isolation()), "of its own already"),
    ):
        with pytest.raises(ValidationError, match=words):
            await manager.register("one", model, isolation="process")
    await loaded.unload()
    with pytest.raises(ValidationError, match="isolation is 'process'"):
        await manager.register("one", EchoModel(), "1MiB", isolation="thread")
    with pytest.raises(ValidationError, match="isolation is 'process'"):
        ModelManager(cpu_ram_gb=1, isolation="thread")
    await manager.register("one", loaded, "1MiB", isolation="process")
    assert isinstance(manager.get("one"), IsolatedBackend)
    assert len(manager) == 1


async def test_after_a_crash_account_status_events_and_dry_runs_are_right_at_once(managers):
    manager = managers(isolation="process")
    await manager.register("echo", EchoModel(), "64MiB")
    await manager.complete("echo", "one")
    model, events = manager.get("echo"), manager.events()
    first = model.pid
    kill(model)
    assert await kinds_until(events, EventKind.Unloaded) == [EventKind.Crashed, EventKind.Unloaded]
    status = status_of(manager, "echo")
    assert (status.state, status.charges, status.idle_seconds) == (State.Unloaded, {}, None)
    assert "SIGKILL" in status.problem
    assert await manager.used_bytes() == 0
    explanation = await manager.explain("echo")
    assert (explanation.ready, explanation.needs) == (False, {"cpu": 64 * MIB})
    assert 'blazen_crashes_total{model="echo"} 1' in manager.metrics()
    assert (await manager.complete("echo", "two")).content == "two"
    status = status_of(manager, "echo")
    assert (status.state, status.loads, status.problem) == (State.Ready, 2, "")
    assert model.pid != first
    assert await manager.used_bytes() == 64 * MIB


async def test_a_crash_in_a_stream_ends_its_lease_with_the_account(managers):
    manager = managers(isolation="process")
    await manager.register("slow", EchoModel(EchoOptions(piece_delay=0.02)), "64MiB")
    stream = manager.complete_stream("slow", "word " * 2_000)
    await stream.__anext__()
    kill(manager.get("slow"))
    with pytest.raises(BackendCrashedError, match="SIGKILL"):
        async for _ in stream:
            pass
    status = status_of(manager, "slow")
    assert (status.state, status.leases, status.charges) == (State.Unloaded, 0, {})
    assert await manager.used_bytes() == 0


async def test_whoever_holds_a_model_that_died_keeps_its_room_and_has_it_again(managers):
    manager = managers(isolation="process", pools={"cpu": "64MiB"})
    await manager.register("held", EchoModel(), "64MiB")
    await manager.register("other", EchoModel(), "64MiB")
    events = manager.events()
    async with manager.lease("held") as model:
        first = model.pid
        kill(model)
        await kinds_until(events, EventKind.Crashed)
        assert status_of(manager, "held").state is State.Unloaded
        assert await manager.used_bytes() == 64 * MIB
        with pytest.raises(BudgetError):  # its room is not given away under its holder
            await manager.complete("other", "one")
        assert (await model.complete("two")).content == "two"
        assert model.pid != first
    status = status_of(manager, "held")
    assert (status.state, status.charges) == (State.Ready, {"cpu": 64 * MIB})
    async with manager.lease("held") as model:
        kill(model)
        await kinds_until(events, EventKind.Crashed)
    assert await manager.used_bytes() == 0
    assert (await manager.complete("other", "three")).content == "three"


async def test_the_room_of_a_model_that_died_goes_to_who_waits_for_it(managers):
    manager = managers(isolation="process", pools={"cpu": "64MiB"})
    await manager.register("slow", EchoModel(EchoOptions(piece_delay=0.02)), "64MiB")
    await manager.register("next", EchoModel(), "64MiB")
    stream = manager.complete_stream("slow", "word " * 2_000)
    busy = asyncio.create_task(stream.collect())
    events = manager.events()
    await kinds_until(events, EventKind.Loaded)
    waits = asyncio.create_task(manager.complete("next", "my turn"))
    await kinds_until(events, EventKind.Waiting)
    kill(manager.get("slow"))
    with pytest.raises(BackendCrashedError):
        await busy
    assert (await asyncio.wait_for(waits, WAIT)).content == "my turn"
    assert status_of(manager, "slow").state is State.Unloaded


async def test_who_can_not_be_started_again_is_stood_in_for(managers):
    manager = managers()
    await manager.register("echo", EchoModel(), "1MiB")
    trouble = Trouble(TroubleOptions(load="kill"))
    await manager.register("trouble", trouble, "1MiB", fallback="echo", isolation="process")
    answer = await manager.complete("trouble", "one")
    assert (answer.content, answer.route.answered) == ("one", "echo")
    assert "SIGKILL" in answer.route.reasons[0]
    assert await manager.used_bytes() == 1 * MIB


@pytest.mark.parametrize("spare", [False, True])
async def test_what_is_measured_is_the_process_and_all_of_it_comes_back(managers, tmp_path, spare):
    learned = LearnedFootprints(tmp_path / "footprints.json")
    manager = managers(measure=True, learn=learned)
    model = EchoModel(EchoOptions(memory=200 * MIB))
    isolation = Isolation(spare=spare)
    await manager.register("large", model, "400MiB", isolation=isolation)
    others: list[bytes] = []
    for _ in range(2):
        # What comes to this process meanwhile is not the model's.
        await manager.load("large", on_progress=lambda _: others.append(b"x" * (100 * MIB)))
        assert others
        await manager.complete("large", "one")
        held = status_of(manager, "large").charges["cpu"]
        assert 200 * MIB < held < 300 * MIB
        await manager.unload("large")
        pool = manager.status().pools[0]
        assert (pool.used, pool.quarantined) == (0, 0)
        others.clear()
    known = learned.get(key_of(manager.get("large")))
    assert known is not None
    assert 200 * MIB < known.footprint.resident["cpu"] < 300 * MIB


async def test_a_model_that_left_tells_the_manager_nothing_more(managers):
    manager = managers()
    model = isolate(EchoModel(), Isolation())
    await manager.register("echo", model, "1MiB")
    await manager.unregister("echo")
    await model.load()
    await manager.register("again", model, "1MiB")
    events = manager.events()
    kill(model)
    told = await kinds_until(events, EventKind.Unloaded)
    assert told == [EventKind.Crashed, EventKind.Unloaded]


def test_a_process_counts_with_its_interpreter_and_its_context():
    model = Footprint(
        resident={"cpu": 100 * MIB, "gpu:0": 1000 * MIB},
        load_peak={"cpu": 300 * MIB},
        per_request={"gpu:0": 10 * MIB},
    )
    whole = with_process(model, None)
    own = whole.resident["cpu"] - 100 * MIB
    assert 20 * MIB < own < 200 * MIB
    assert whole.resident["gpu:0"] == 1000 * MIB + CONTEXT
    assert whole.load_peak == {"cpu": 300 * MIB + own}
    assert whole.per_request == {"gpu:0": 10 * MIB}


@pytest.mark.parametrize(
    ("gpus", "pools", "device"),
    [
        (None, {"cpu", "gpu:0", "gpu:1"}, "cuda:1"),
        ((3, 2), {"cpu", "gpu:3", "gpu:2"}, "cuda:2"),
        ((5,), {"cpu", "gpu:5"}, "cuda:5"),
        ((), {"cpu"}, "cuda:1"),
    ],
)
def test_the_gpus_that_it_sees_are_counted_as_this_process_counts_them(gpus, pools, device):
    model = Footprint.of({"cpu": 1 * MIB, "gpu:0": 2 * MIB, "gpu:1": 3 * MIB})
    whole = with_process(model, gpus).resident
    assert set(whole) == pools
    parts = len(pools) - 1
    assert sum(whole.values()) - parts * CONTEXT - 60 * MIB == 6 * MIB
    assert outer_device("cuda:1", gpus) == device
    assert outer_device("cpu", gpus) == "cpu"
    assert outer_device("auto", gpus) == ("cpu" if gpus == () else "auto")


def test_what_was_learned_of_a_process_is_not_taken_for_another():
    here = EchoModel()
    everywhere = [None, Isolation(), Isolation(gpus=(0,)), Isolation(gpus=(1,))]
    keys = [key_of(here if one is None else isolate(here, one)) for one in everywhere]
    assert len(set(keys)) == 4
    assert keys[1] == key_of(isolate(EchoModel(), Isolation()))


class Crashes(Walk):
    """The random tasks of the scheduler's own test, with models whose processes die."""

    def _register(self, name: str) -> None:
        super()._register(name)
        self.entries[-1].model = SimpleNamespace(is_loaded=True)

    def step(self) -> None:
        there = [e for e in self.entries if e.phase in (Phase.Ready, Phase.Loading)]
        choice = self.tape.below(6)
        if choice == 0 and there:
            self._crash(self.tape.pick(there))
        elif choice == 1:
            for entry in self.entries:  # whoever holds one has it loaded again
                entry.model.is_loaded = True
        super().step()

    def _crash(self, entry: Any) -> None:
        world, idle = self.world, entry.phase is Phase.Ready and not entry.leases
        entry.model.is_loaded = False
        before = len(world.told)
        world.scheduler.lost(entry, "it died", world.now)
        told = [kind for kind, _, _ in world.told[before:]]
        assert told[: 1 + idle] == ["crashed", "unloaded"][: 1 + idle]
        world._do()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 2**16), max_size=150), st.booleans())
def test_whatever_dies_when_nobody_waits_for_ever_and_the_account_is_right(numbers, faults):
    Crashes(Tape(numbers), faults=faults).run()
