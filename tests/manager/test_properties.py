"""Thousands of random operations on a real manager, with a fault possible at every await.

After each one: no pool was over its budget at any instant since the last, no request reached a
model that is not there, no two loads of one ran at once, and the account is the sum of what is
held. In the end: every request was answered, all memory is back, and nothing runs or waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blazen.errors import BlazenError
from blazen.manager import Footprint, ModelManager, ReloadCost, State, least_recently_used
from blazen.manager.entries import Phase
from tests.manager.fakes import GIB, Boom, Fake, FakeMeter, FixedFake, Machine, SharingFake
from tests.manager.virtual import VirtualLoop

POOLS = {"cpu": 8 * GIB, "gpu:0": 6 * GIB}
IDS = [f"m{number}" for number in range(6)]

places = st.integers(0, len(IDS) - 1)
timeouts = st.sampled_from([None, None, None, 0.0, 0.7, 20.0])
priorities = st.sampled_from([None, None, 1, 5])


class ManagerMachine(RuleBasedStateMachine):
    """A manager, its models, and the tasks that use them."""

    measured = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.machine = Machine(POOLS)
        self.machine.strict = not self.measured
        self.manager = ModelManager(
            pools=POOLS,
            cores=4,
            measure=FakeMeter(self.machine) if self.measured else False,
            learn=False,
            clock=self.loop.time,
            policy=ReloadCost() if self.measured else least_recently_used,
        )
        self.scheduler = self.manager._scheduler
        self.machine.account = self.scheduler.ledger.used.__getitem__
        self.fakes: dict[str, Fake] = {}
        self.tasks: list[asyncio.Task[Any]] = []

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self.tasks.append(self.loop.create_task(_outcome(work)))
        self.loop.turn()

    def _name(self, place: int) -> str:
        """Name a model that is there, or was."""
        names = sorted(self.fakes) or IDS
        return names[place % len(names)]

    # What is done with it

    @precondition(lambda self: len(self.fakes) < len(IDS))
    @rule(
        kind=st.sampled_from([Fake, Fake, SharingFake, FixedFake]),
        sizes=st.tuples(st.integers(0, 6), st.integers(0, 4)),
        peak=st.sampled_from([0, 0, 1, 2]),
        part=st.sampled_from([0, 0, 0, 1]),
        priority=st.sampled_from([0, 0, 1]),
        keep_alive=st.sampled_from([None, None, None, 0.0, 3.0]),
        pinned=st.sampled_from([False] * 9 + [True]),
        preload=st.booleans(),
    )
    def register(
        self, kind: Any, sizes: Any, peak: int, part: int, preload: bool, **settings: Any
    ) -> None:
        name = next(name for name in IDS if name not in self.fakes)
        resident = {p: s * GIB for p, s in zip(POOLS, sizes, strict=True) if s}
        peaks = {p: min(POOLS[p], s + peak * GIB) for p, s in resident.items()} if peak else {}
        parts = {"cpu": part * GIB} if part else {}
        fake = kind(self.machine, name, resident, peak=peaks, part=parts)

        async def register() -> None:
            await self.manager.register(
                name, fake, footprint=Footprint(resident, peaks, parts), preload=preload, **settings
            )

        self.loop.run(register())
        self.fakes[name] = fake

    @precondition(lambda self: self.fakes)
    @rule(data=st.data())
    def unregister(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.fakes)))
        if name in self.manager:
            self._spawn(self._unregister(name))

    async def _unregister(self, name: str) -> None:
        fake = self.fakes[name]
        await self.manager.unregister(name)
        assert not fake.is_loaded
        assert name not in self.manager
        self.fakes.pop(name, None)

    @rule(place=places, timeout=timeouts)
    def load(self, place: int, timeout: float | None) -> None:
        self._spawn(self.manager.load(self._name(place), timeout=timeout))

    @rule(place=places, timeout=timeouts)
    def unload(self, place: int, timeout: float | None) -> None:
        self._spawn(self.manager.unload(self._name(place), timeout=timeout))

    @rule(
        places=st.lists(places, min_size=1, max_size=3),
        timeout=timeouts,
        priority=priorities,
        seconds=st.sampled_from([0.0, 0.5, 2.0]),
    )
    def lease(
        self, places: list[int], timeout: float | None, priority: int | None, seconds: float
    ) -> None:
        names = [self._name(place) for place in places]
        self._spawn(self._hold(names, timeout, priority, seconds))

    async def _hold(
        self, names: list[str], timeout: float | None, priority: int | None, seconds: float
    ) -> None:
        async with self.manager.lease(names[0], timeout=timeout, priority=priority) as fake:
            with fake.use():
                await asyncio.sleep(seconds)
                if names[1:]:
                    await self._hold(names[1:], timeout, priority, seconds)
                await asyncio.sleep(seconds)

    @rule(place=places, timeout=timeouts, priority=priorities)
    def complete(self, place: int, timeout: float | None, priority: int | None) -> None:
        name = self._name(place)

        async def complete() -> None:
            answer = await self.manager.complete(name, "?", timeout=timeout, priority=priority)
            assert answer.content == "a b c"

        self._spawn(complete())

    @rule(
        place=places,
        timeout=timeouts,
        pieces=st.integers(0, 4),
        end=st.sampled_from(["close", "drop", "leave"]),
    )
    def stream(self, place: int, timeout: float | None, pieces: int, end: str) -> None:
        name = self._name(place)

        async def read() -> None:
            stream = self.manager.complete_stream(name, "?", timeout=timeout)
            if end == "leave":
                left = pieces
                async for _ in stream:
                    left -= 1
                    if left < 0:
                        break
                return
            await stream
            with contextlib.suppress(StopAsyncIteration):
                for _ in range(pieces):
                    await stream.__anext__()
            if end == "close":
                await stream.aclose()

        self._spawn(read())

    @precondition(lambda self: any(not task.done() for task in self.tasks))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([task for task in self.tasks if not task.done()])).cancel()

    @rule(
        place=places,
        point=st.sampled_from(["load begins", "load goes on", "load ends"]),
        fault=st.sampled_from(["fail", "hang", "cancel", "memory"]),
    )
    def load_fault(self, place: int, point: str, fault: str) -> None:
        if self.fakes:
            self.fakes[self._name(place)].faults[point] = fault

    @rule(place=places, data=st.data())
    def unload_fault(self, place: int, data: st.DataObject) -> None:
        kinds = ["fail", "hang", "cancel", "gone"] + ["keep", "late"] * self.measured
        if self.fakes:
            self.fakes[self._name(place)].faults["unload"] = data.draw(st.sampled_from(kinds))

    @rule(place=places)
    def work_fault(self, place: int) -> None:
        if self.fakes:
            self.fakes[self._name(place)].faults["work"] = "fail"

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 5.0, 120.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.pass_time(seconds)

    @rule(times=st.integers(1, 5))
    def turn(self, times: int) -> None:
        self.loop.turn(times)

    @rule(place=places)
    def ask_what_would_be(self, place: int) -> None:
        before, name = self.manager.status(), self._name(place)
        if name in self.manager:
            with pytest.raises(StopIteration):  # it waits for nothing
                self.manager.explain(name).send(None)
        assert repr(self.manager)
        assert self.manager.status().models == before.models

    # What must hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.machine.violations, self.machine.violations
        assert not self.loop.problems, self.loop.problems
        scheduler, ledger = self.scheduler, self.scheduler.ledger
        entries = list(scheduler.entries.values())
        for pool, budget in ledger.budgets.items():
            held = sum(entry.held.get(pool, 0) for entry in entries)
            assert held == ledger.used[pool]
            assert held + ledger.quarantined[pool] >= 0
            if not self.measured:
                assert held + ledger.quarantined[pool] <= budget
        tickets = [t for e in entries if e.demand is not None for t in e.demand.tickets]
        assert len(tickets) == scheduler.waiting
        for entry in entries:
            assert not entry.leases or entry.phase is Phase.Ready
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            if not self.loop.is_closed():
                self.loop.close()

    def _end(self) -> None:
        for fake in self.fakes.values():
            fake.faults.clear()
        self.machine.give_back_kept()
        self.loop.run(asyncio.wait_for(_all(self.tasks), 1e6))
        gc.collect(0)
        self.loop.pass_time(1000)  # models are brought back, and loaded ahead of use
        assert self.scheduler.waiting == 0, "someone waits still"
        self.loop.run(self.manager.unload_all())
        self.machine.give_back_kept()  # what an unload that was under way has kept since
        self.loop.pass_time(100)
        self.nothing_is_wrong()
        assert not self.scheduler.queue
        assert self.scheduler.cores_used == 0
        assert all(model.state is State.Unloaded for model in self.manager.status().models)
        assert all(model.leases == 0 for model in self.manager.status().models)
        for pool in POOLS:
            assert self.scheduler.ledger.used[pool] == 0
            assert self.scheduler.ledger.quarantined[pool] == 0
            assert self.machine.held[pool] == 0
        assert not self.manager._driver._tasks
        assert not asyncio.all_tasks(self.loop), "tasks are left"


async def _outcome(work: Coroutine[Any, Any, Any]) -> None:
    """Do something that may fail in the ways that it is told to, and in no other."""
    with contextlib.suppress(BlazenError, Boom):
        await work


async def _all(tasks: list[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


class MeasuredMachine(ManagerMachine):
    """The same with a meter, and with models that keep memory or give it back late."""

    measured = True


_settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
TestManager = ManagerMachine.TestCase
TestManager.settings = _settings
TestMeasured = MeasuredMachine.TestCase
TestMeasured.settings = _settings
