"""Where other model managers break, each as a test of its own named after what it protects."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

import pytest

from blazen import errors
from blazen.errors import BlazenError, BudgetError, LoadError, ValidationError
from blazen.manager import Footprint, ModelManager, State
from blazen.types.completion import InferenceChunk, InferenceChunkStream
from tests.manager.fakes import GIB, Boom, Fake, FakeMeter, Machine, SharingFake
from tests.manager.virtual import VirtualLoop


class House:
    """A manager with fakes in it, on a loop whose time passes at once."""

    def __init__(self, gib=8, *, measured=False, pools=None, **settings):
        self.loop = VirtualLoop()
        budgets = pools or {"cpu": gib * GIB}
        self.machine = Machine(budgets)
        self.manager = ModelManager(
            pools=budgets,
            measure=FakeMeter(self.machine) if measured else False,
            learn=False,
            clock=self.loop.time,
            **settings,
        )
        self.ledger = self.manager._scheduler.ledger
        self.machine.account = self.ledger.used.__getitem__

    def add(self, name, gib=3, *, kind=Fake, part=0, size=None, **settings):
        resident = size or {"cpu": gib * GIB}
        parts = {"cpu": part * GIB} if part else {}
        fake = kind(self.machine, name, resident, part=parts)
        footprint = Footprint(resident, {}, parts)
        self.run(self.manager.register(name, fake, footprint=footprint, **settings))
        return fake

    def run(self, work):
        return self.loop.run(work)

    def spawn(self, work):
        task = self.loop.create_task(work)
        self.loop.turn(3)
        return task

    async def hold(self, name, seconds=1.0, **settings):
        async with self.manager.lease(name, **settings) as fake:
            with fake.use():
                await asyncio.sleep(seconds)

    def state(self, name):
        return next(m.state for m in self.manager.status().models if m.id == name)

    def end(self):
        self.loop.pass_time(1000)
        self.run(self.manager.unload_all())
        self.loop.turn(5)
        assert self.machine.violations == []
        assert self.loop.problems == []
        assert not any(self.ledger.used.values())
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()


@pytest.fixture
def house():
    made = []

    def make(*arguments, **settings):
        made.append(House(*arguments, **settings))
        return made[-1]

    yield make
    for each in made:
        if not each.loop.is_closed():
            each.end()


def test_a_state_that_changed_meanwhile_does_not_mislead(house):
    """What was planned for one state is planned again when another model has come in between."""
    home = house(8)
    for name in "abc":
        home.add(name, 4)
    holder = home.spawn(home.hold("a", 10))
    home.loop.pass_time(1)
    waiter = home.spawn(home.hold("c", 1))  # b is not there: c takes the free half
    late = home.spawn(home.hold("b", 1))
    home.run(asyncio.gather(holder, waiter, late))
    assert home.machine.violations == []


def test_eight_loads_at_once_stay_within_the_budget(house):
    """Checked, awaited and committed in one step: upstream had 8 GB resident in 4 GB."""
    home = house(4)
    fakes = [home.add(f"m{number}", 1) for number in range(8)]

    async def all_at_once():
        await asyncio.gather(*(home.manager.load(fake.name) for fake in fakes))

    home.run(all_at_once())
    assert sum(fake.is_loaded for fake in fakes) <= 4
    assert home.machine.violations == []


def test_eight_callers_of_one_model_cause_one_load(house):
    home = house()
    fake = home.add("a")

    async def all_at_once():
        await asyncio.gather(*(home.manager.complete("a", "?") for _ in range(8)))

    home.run(all_at_once())
    assert fake.loads == 1


def test_two_waiters_never_choose_the_same_victim(house):
    home = house(4)
    victims = [home.add(name, 2) for name in "ab"]
    for fake in victims:
        home.run(home.manager.load(fake.name))
    waiters = [home.add(name, 2) for name in "cd"]

    async def both():
        await asyncio.gather(*(home.hold(fake.name, 5) for fake in waiters))

    home.run(both())
    assert [fake.unloads for fake in victims] == [1, 1]
    assert [fake.loads for fake in waiters] == [1, 1]


def test_a_model_that_loads_is_not_evicted(house):
    home = house(4)
    loading, other = home.add("loading", 3), home.add("other", 3)
    first = home.spawn(home.hold("loading"))
    second = home.spawn(home.hold("other"))
    home.run(asyncio.gather(first, second))
    assert (loading.loads, loading.unloads, other.loads) == (1, 1, 1)


def test_a_model_is_held_by_who_it_was_loaded_for_before_it_can_go_again(house):
    home = house(4)
    for name in "ab":
        home.add(name, 3)
    tasks = [home.spawn(home.hold(name, 0)) for name in "abab"]
    home.run(asyncio.gather(*tasks))
    assert sum(model.loads for model in home.manager.status().models) <= 3


def test_no_request_reaches_a_model_while_it_is_torn_down(house):
    home = house()
    fake = home.add("a")
    home.run(home.manager.load("a"))
    unload = home.spawn(home.manager.unload("a"))
    assert home.state("a") is State.Unloading
    request = home.spawn(home.manager.complete("a", "?"))
    home.run(asyncio.gather(unload, request))
    assert fake.loads == 2


def test_no_lock_is_held_while_a_model_loads_or_one_waits_for_it(house):
    home = house(6)
    slow, quick = home.add("slow", 3), home.add("quick", 3)
    home.run(home.manager.load("quick"))
    slow.faults["load begins"] = "hang"
    waiting = home.spawn(home.manager.load("slow"))
    assert not home.manager._driver.lock.locked()
    before = home.loop.now
    home.run(home.manager.complete("quick", "?"))
    assert home.loop.now - before < 2
    assert not waiting.done()
    assert quick.loads == 1
    home.run(waiting)


def test_a_caller_that_aborts_leaves_no_lease_behind(house):
    home = house()
    home.add("a")
    for turns in range(12):
        task = home.spawn(home.manager.complete("a", "?"))
        home.loop.turn(turns)
        task.cancel()
        home.loop.turn(5)
        assert home.manager.status().models[0].leases == 0
        assert home.manager.status().waiting == 0


def test_one_waiter_that_is_cancelled_does_not_kill_the_load_of_others(house):
    home = house()
    fake = home.add("a")
    first = home.spawn(home.manager.complete("a", "?"))
    second = home.spawn(home.manager.complete("a", "?"))
    first.cancel()
    home.run(second)
    assert fake.loads == 1


def test_a_load_that_nobody_waits_for_any_more_is_stopped_and_cleaned(house):
    home = house()
    fake = home.add("a")
    fake.faults["load goes on"] = "hang"
    tasks = [home.spawn(home.manager.complete("a", "?")) for _ in range(2)]
    home.loop.pass_time(1)
    for task in tasks:
        task.cancel()
    home.loop.pass_time(2)
    assert home.state("a") is State.Unloaded
    assert home.machine.held == {"cpu": 0}
    assert home.ledger.used == {"cpu": 0}


def test_memory_that_was_not_given_back_is_not_handed_out(house):
    home = house(8, measured=True)
    home.machine.strict = False
    keeper = home.add("keeper", 5)
    home.add("next", 4)
    home.run(home.manager.complete("keeper", "?"))
    keeper.faults["unload"] = "keep"
    home.run(home.manager.unload("keeper"))
    assert home.ledger.quarantined == {"cpu": 5 * GIB}
    with pytest.raises(BudgetError, match="did not come back from 'keeper'"):
        home.run(home.manager.load("next"))
    home.machine.give_back_kept()
    home.loop.pass_time(2)
    home.run(home.manager.load("next"))
    assert home.ledger.quarantined == {"cpu": 0}


def test_memory_that_is_missing_stays_missed_when_its_model_loads_again_or_is_forgotten(house):
    home = house(12, measured=True)
    home.machine.strict = False
    keeper = home.add("keeper", 5)
    home.run(home.manager.complete("keeper", "?"))
    keeper.faults["unload"] = "keep"
    home.run(home.manager.unload("keeper"))
    home.run(home.manager.complete("keeper", "?"))
    home.run(home.manager.unload("keeper"))
    assert home.ledger.quarantined == {"cpu": 5 * GIB}
    home.run(home.manager.unregister("keeper"))
    assert home.ledger.quarantined == {"cpu": 5 * GIB}
    home.machine.give_back_kept()
    home.loop.pass_time(2)
    assert home.ledger.quarantined == {"cpu": 0}


def test_memory_that_comes_back_late_is_waited_for(house):
    """A driver was seen to take 1.5 s to give back what a model had on a GPU."""
    home = house(pools={"gpu:0": 8 * GIB}, measured=True)
    home.machine.strict = False
    late = home.add("late", size={"gpu:0": 5 * GIB})
    home.add("next", size={"gpu:0": 5 * GIB})
    home.run(home.manager.complete("late", "?"))
    late.faults["unload"] = "late"
    before = home.loop.now
    home.run(home.manager.load("next"))
    assert home.loop.now - before >= 2  # the unload, the delay and the load
    assert home.ledger.quarantined == {"gpu:0": 0}


def test_after_a_crash_nobody_waits_for_memory_that_is_free_already(house):
    home = house(8, measured=True)
    crashed = home.add("crashed", 5)
    home.add("next", 5)
    home.run(home.manager.complete("crashed", "?"))
    crashed._hold({})  # its process is gone, and its memory with it
    crashed.is_loaded = False
    before = home.loop.now
    home.run(home.manager.load("next"))
    assert home.ledger.quarantined == {"cpu": 0}
    assert home.loop.now - before < 3


def test_free_memory_of_several_gpus_is_never_added_up(house):
    home = house(pools={"gpu:0": 4 * GIB, "gpu:1": 4 * GIB})
    home.add("large", size={"gpu:0": 5 * GIB})
    with pytest.raises(BudgetError):
        home.run(home.manager.load("large"))
    wide = home.add("wide", size={"gpu:0": 3 * GIB, "gpu:1": 3 * GIB})
    home.run(home.manager.load("wide"))
    assert wide.is_loaded
    assert home.ledger.used == {"gpu:0": 3 * GIB, "gpu:1": 3 * GIB}


def test_models_that_must_be_built_alone_load_one_by_one_even_when_one_gives_up(house):
    """Three in line, and the one in the middle is stopped: the last still waits for the first."""
    home = house()
    running, most = [], []

    class Alone(Fake):
        loads_alone = "torch"

        async def load(self):
            running.append(self.name)
            most.append(len(running))
            try:
                await super().load()
            finally:
                running.remove(self.name)

    for name in "abc":
        home.add(name, 1, kind=Alone)
    tasks = [home.spawn(home.manager.load(name)) for name in "abc"]
    home.loop.turn(5)
    tasks[1].cancel()
    home.run(asyncio.gather(tasks[0], tasks[2]))
    assert max(most) == 1


def test_a_stream_that_is_dropped_in_a_finalizer_takes_no_lock(house):
    home = house()
    home.add("a")
    stream = home.manager.complete_stream("a", "?")

    async def begin():
        await stream
        await stream.__anext__()

    home.run(begin())
    with home.manager._driver.lock:  # as if the collector ran in the middle of a decision
        stream = None
        gc.collect()
    home.loop.pass_time(1)
    assert home.manager.status().models[0].leases == 0


@pytest.mark.parametrize("where", ["waiting", "working", "holding"])
def test_a_coroutine_that_is_dropped_in_a_finalizer_takes_no_lock(house, where):
    home = house()
    fake = home.add("a")
    if where == "waiting":
        fake.faults["load begins"] = "hang"
    else:
        home.run(home.manager.load("a"))
    work = home.hold("a") if where == "holding" else home.manager.complete("a", "?")
    asyncio._set_running_loop(home.loop)
    try:
        work.send(None)
    finally:
        asyncio._set_running_loop(None)
    home.loop.turn(3)

    def drop():
        with home.manager._driver.lock:
            work.close()

    thread = threading.Thread(target=drop, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive(), "it waits for a lock that its own thread holds"
    home.loop.pass_time(1)
    status = home.manager.status()
    assert (status.waiting, status.models[0].leases) == (0, 0)


def test_where_all_is_pinned_it_is_refused_and_where_all_is_in_use_the_wait_has_an_end(house):
    home = house(6)
    home.add("pinned", 3, pinned=True)
    home.add("busy", 3)
    home.run(home.manager.load("pinned"))
    home.add("large", 5)
    with pytest.raises(BudgetError, match="pinned"):
        home.run(home.manager.load("large"))
    holder = home.spawn(home.hold("busy", 50))
    home.add("next", 3)
    with pytest.raises(errors.TimeoutError, match=r"'busy' holds .*\(in use by 1\)"):
        home.run(home.manager.load("next", timeout=5))
    home.run(holder)


class Breaking(Fake):
    """Its stream breaks after a few pieces."""

    after = 0

    def complete_stream(self, messages, options=None):
        async def pieces() -> AsyncIterator[InferenceChunk]:
            for number in range(self.after):
                yield InferenceChunk(content=f"{number} ")
            raise LoadError("it broke")

        return InferenceChunkStream.of(pieces())


def test_a_stream_that_breaks_midway_neither_repeats_nor_changes_its_text(house):
    home = house()
    home.add("second")
    first = home.add("first", kind=Breaking, fallback="second")
    first.after = 2

    async def read():
        stream = home.manager.complete_stream("first", "?")
        with pytest.raises(LoadError):
            await stream.collect()
        return stream.response.content

    assert home.run(read()) == "0 1 "


# Found by attacking this one


def test_a_lease_is_held_by_one_holder_only(house):
    home = house()
    home.add("a")
    home.run(home.manager.load("a"))
    lease = home.manager.lease("a")

    async def twice():
        async with lease:
            with pytest.raises(BlazenError, match="held already"):
                async with lease:
                    pass
            assert lease.granted

    home.run(twice())


def test_a_model_that_cannot_be_unloaded_stays_registered(house):
    home = house()
    fake = home.add("a")
    home.run(home.manager.load("a"))
    fake.faults["unload"] = "fail"
    with pytest.raises(Boom):
        home.run(home.manager.unregister("a"))
    assert "a" in home.manager
    home.run(home.manager.complete("a", "?"))
    home.run(home.manager.unregister("a"))
    assert not fake.is_loaded


def test_unregistering_that_is_given_up_leaves_the_model_as_it_was(house):
    home = house()
    home.add("a")
    holder = home.spawn(home.hold("a", 10))
    home.loop.pass_time(2)
    gone = home.spawn(home.manager.unregister("a"))
    with pytest.raises(ValidationError, match="unregistered"):
        home.run(home.manager.complete("a", "?"))
    gone.cancel()
    home.loop.turn(3)
    home.run(home.manager.complete("a", "?"))
    home.run(holder)


def test_a_model_that_cancels_its_own_load_is_not_loaded_for_ever(house):
    home = house()

    class Cancelling(Fake):
        async def load(self):
            self.loads += 1
            await asyncio.sleep(0)
            raise asyncio.CancelledError

    fake = home.add("a", kind=Cancelling)
    with pytest.raises(LoadError, match="cancelled"):
        home.run(home.manager.load("a"))
    assert fake.loads == 2


def test_a_model_that_cancels_its_own_unload_does_not_hang_the_loop(house):
    home = house()

    class Cancelling(Fake):
        stubborn = True

        async def unload(self):
            if self.stubborn:
                raise asyncio.CancelledError
            await super().unload()

    fake = home.add("a", kind=Cancelling)
    home.run(home.manager.load("a"))
    with pytest.raises(BlazenError, match="cancelled"):
        home.run(home.manager.unload("a"))
    assert home.state("a") is State.Ready
    fake.stubborn = False


def test_a_model_that_fails_to_share_its_cores_harms_no_other(house):
    home = house(cores=4)

    class Failing(SharingFake):
        def share_threads(self, threads):
            raise Boom("no")

    for name in "ab":
        home.add(name, kind=Failing)

    async def both():
        await asyncio.gather(*(home.manager.complete(name, "?") for name in "ab"))

    home.run(both())


def test_a_dropped_stream_has_stopped_before_its_model_goes(house):
    home = house()
    home.add("a", keep_alive=0)

    async def read():
        stream = home.manager.complete_stream("a", "?")
        await stream.__anext__()

    home.run(read())
    home.loop.pass_time(5)
    assert home.state("a") is State.Unloaded
    assert home.machine.violations == []
