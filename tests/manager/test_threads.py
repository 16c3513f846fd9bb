"""One manager under several threads and event loops at once, with no time that is made up."""

from __future__ import annotations

import asyncio
import gc
import random
import threading

import pytest

from blazen.errors import BlazenError
from blazen.manager import ModelManager, State
from blazen.sync import background_loop
from tests.manager.fakes import GIB, Boom, Fake, Machine

WAIT = 60


class Lively(Fake):
    """A fake that is quick, and whose machine is shared by threads."""

    lock = threading.Lock()

    def _hold(self, amounts):
        with self.lock:
            super()._hold(amounts)

    def _begin(self):
        with self.lock:
            super()._begin()

    def _end(self):
        with self.lock:
            super()._end()


def house(gib, count, size=2, seconds=0.0):
    machine = Machine({"cpu": gib * GIB})
    manager = ModelManager(cpu_ram_gb=gib, measure=False, learn=False)
    machine.account = manager._scheduler.ledger.used.__getitem__
    fakes = [
        Lively(machine, f"m{number}", {"cpu": size * GIB}, seconds=seconds)
        for number in range(count)
    ]

    async def register():
        for fake in fakes:
            await manager.register(fake.name, fake, memory_estimate_bytes=size * GIB)

    asyncio.run(register())
    return machine, manager, fakes


def in_threads(*works):
    """Run each function on a thread of its own; give back what any of them raised."""
    problems = []

    def run(work):
        try:
            work()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=WAIT)
        assert not thread.is_alive(), "a thread waits for ever"
    if problems:
        raise problems[0]


def end(machine, manager):
    async def over():
        await manager.unload_all()
        while any(model.state is not State.Unloaded for model in manager.status().models):
            await asyncio.sleep(0)  # what was begun for others ends on their loops

    asyncio.run(asyncio.wait_for(over(), WAIT))
    assert machine.violations == []
    assert manager._scheduler.waiting == 0
    assert manager._scheduler.ledger.used == {"cpu": 0}
    assert machine.held == {"cpu": 0}
    assert all(model.leases == 0 for model in manager.status().models)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_with_loops_of_their_own_share_one_manager(threads):
    machine, manager, fakes = house(6, 6)

    def work(seed):
        drawn = random.Random(seed)

        async def request():
            name = drawn.choice(fakes).name
            kind = drawn.randrange(6)
            try:
                if kind == 0:
                    async for _ in manager.complete_stream(name, "?"):
                        if drawn.randrange(3) == 0:
                            break
                elif kind == 1:
                    await manager.unload(name)
                elif kind == 2:
                    async with manager.lease(name) as fake:
                        with fake.use():
                            await manager.complete(drawn.choice(fakes).name, "?")
                elif kind == 3:
                    await asyncio.wait_for(manager.complete(name, "?"), drawn.choice([0, 0.001]))
                else:
                    await manager.complete(name, "?")
            except (BlazenError, Boom, asyncio.TimeoutError):
                pass

        async def many():
            for _ in range(25):
                await asyncio.gather(*(request() for _ in range(6)))

        return lambda: asyncio.run(many())

    in_threads(*(work(seed) for seed in range(threads)))
    end(machine, manager)


def test_a_loop_that_ends_while_it_loads_for_another_does_not_leave_it_waiting():
    machine, manager, (fake,) = house(4, 1, seconds=0.02)
    loading, joined = threading.Event(), threading.Event()
    begin = fake.load

    async def load():
        loading.set()
        while not joined.is_set():  # the other must come while it loads, however late
            await asyncio.sleep(0)
        await begin()

    fake.load = load

    def first():
        async def ask():
            task = asyncio.ensure_future(manager.complete("m0", "?"))
            while not (loading.is_set() and joined.is_set()):
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(ask())  # its end cancels the load

    def second():
        async def ask():
            while not loading.is_set():
                await asyncio.sleep(0)
            task = asyncio.ensure_future(manager.complete("m0", "?"))
            while manager.status().models[0].waiting < 2:
                await asyncio.sleep(0)
            joined.set()
            answer = await task
            assert answer.content == "a b c"

        asyncio.run(ask())

    in_threads(first, second)
    end(machine, manager)


def test_a_loop_that_ends_while_it_unloads_for_another_does_not_leave_it_waiting():
    machine, manager, fakes = house(2, 2, seconds=0.02)
    going, waits = threading.Event(), threading.Event()
    begin = fakes[0].unload

    async def unload():
        going.set()
        await begin()

    fakes[0].unload = unload

    def first():
        async def ask():
            await manager.load("m0")
            task = asyncio.ensure_future(manager.unload("m0"))
            while not (going.is_set() and waits.is_set()):
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(ask())

    def second():
        async def ask():
            while not going.is_set():
                await asyncio.sleep(0)
            task = asyncio.ensure_future(manager.complete("m1", "?"))
            await asyncio.sleep(0)
            waits.set()
            await task

        asyncio.run(ask())

    in_threads(first, second)
    end(machine, manager)


def test_a_loop_that_is_closed_underneath_its_load_is_rescued_once():
    machine, manager, (fake,) = house(4, 1, seconds=0.05)
    loop = asyncio.new_event_loop()
    task = loop.create_task(manager.load("m0"))
    while not fake._loading:
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()  # nothing was cancelled: the load hangs in the air
    assert not task.done()
    task._log_destroy_pending = False
    for held, _, _ in tuple(manager._driver._tasks.values()):
        held._log_destroy_pending = False
    del task, held
    fake._loading = False
    answers = []
    gc.collect()
    in_threads(lambda: answers.append(asyncio.run(manager.complete("m0", "?"))))
    gc.collect()
    assert answers[0].content == "a b c"
    end(machine, manager)


def test_a_stream_that_is_dropped_on_another_thread_gives_its_lease_back():
    machine, manager, _ = house(4, 1)

    async def use():
        held = [manager.complete_stream("m0", "?")]
        await held[0].__anext__()
        assert manager.status().models[0].leases == 1
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        while manager.status().models[0].leases:
            await asyncio.sleep(0)
        await manager.unload("m0")

    asyncio.run(asyncio.wait_for(use(), WAIT))
    end(machine, manager)


def test_a_stream_that_outlives_its_loop_gives_its_lease_back():
    machine, manager, (fake,) = house(4, 1)

    async def begin():
        stream = manager.complete_stream("m0", "?")
        await stream.__anext__()
        return stream

    stream = asyncio.run(begin())
    del stream
    gc.collect()
    asyncio.run(asyncio.wait_for(manager.unload("m0"), WAIT))
    assert not fake.is_loaded
    end(machine, manager)


def test_one_who_waits_on_a_loop_that_is_closed_holds_nothing():
    machine, manager, _ = house(2, 2)
    loop = asyncio.new_event_loop()
    release = threading.Event()
    taken = threading.Event()

    def holder():
        async def hold():
            async with manager.lease("m0"):
                taken.set()
                while not release.is_set():
                    await asyncio.sleep(0)

        asyncio.run(hold())

    thread = threading.Thread(target=holder, daemon=True)
    thread.start()
    taken.wait(WAIT)
    task = loop.create_task(manager.complete("m1", "?"))
    while not manager.status().waiting:
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False
    del task
    gc.collect()
    release.set()
    thread.join(WAIT)
    in_threads(lambda: asyncio.run(manager.complete("m0", "?")))
    asyncio.run_coroutine_threadsafe(manager.complete("m1", "?"), background_loop()).result(WAIT)
    end(machine, manager)


def test_an_idle_time_goes_on_when_the_loop_that_kept_it_ends():
    _, manager, (hot, brief) = house(gib=8, count=2)

    async def first():
        await manager.unregister("m1")
        await manager.register("brief", brief, memory_estimate_bytes=2 * GIB, keep_alive=0.2)
        await manager.complete("m0", "?")
        await manager.complete("brief", "?")

    async def then():
        while brief.is_loaded:  # requests that never wait for anything
            await manager.complete("m0", "?")
            await asyncio.sleep(0.01)

    asyncio.run(first())
    assert brief.is_loaded
    asyncio.run(asyncio.wait_for(then(), WAIT))
    assert hot.is_loaded
