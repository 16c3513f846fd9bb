"""Models without weights that can go wrong at every await, and a machine that sees what they hold.

A fake takes memory of a `Machine` as a real model takes it of a real one. The machine knows at
every instant what is really held, and writes down whatever must never be: more than the budget,
more than the account has it down for, a request to a model that is not there, two loads at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from blazen.types.completion import InferenceChunk, InferenceChunkStream, ModelResponse

GIB = 1 << 30


class Boom(Exception):
    """What a fake raises when it is told to."""


class Machine:
    """The memory, as it really is."""

    def __init__(self, budgets: Mapping[str, int]) -> None:
        self.budgets = dict(budgets)
        self.held = dict.fromkeys(budgets, 0)
        """By models, as they say."""
        self.kept = dict.fromkeys(budgets, 0)
        """What was not given back."""
        self.foreign = dict.fromkeys(budgets, 0)
        """By other programs."""
        self.account: Callable[[str], int] | None = None
        """What the manager has a pool down for."""
        self.strict = True
        """Whether no model lies or keeps memory, so that reality must be within the account."""
        self.violations: list[str] = []

    def take(self, who: str, amounts: Mapping[str, int], sign: int = 1) -> None:
        for pool, size in amounts.items():
            self.held[pool] += sign * size
            held = self.held[pool]
            self.expect(held >= 0, f"{who} gives back more of {pool} than it has")
            if self.strict and sign > 0:
                self.expect(held <= self.budgets[pool], f"{who}: {pool} is over its budget")
                if self.account is not None:
                    down = self.account(pool)
                    self.expect(held <= down, f"{who}: {held} of {pool}, {down} in the account")

    def keep(self, amounts: Mapping[str, int]) -> None:
        for pool, size in amounts.items():
            self.kept[pool] += size

    def give_back_kept(self) -> None:
        self.kept = dict.fromkeys(self.budgets, 0)

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)


class FakeMeter:
    """Reads what the fakes really hold."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def used(self, pool: str) -> int | None:
        return self.machine.held[pool] + self.machine.kept[pool]

    def available(self, pool: str) -> int | None:
        used = self.machine.held[pool] + self.machine.kept[pool] + self.machine.foreign[pool]
        return max(0, self.machine.budgets[pool] - used)


class Fake:
    """A chat model that takes what it is told to take, and fails where it is told to.

    ``faults`` maps a point to what happens there the next time: ``fail``, ``hang``, ``cancel``,
    ``memory`` (it runs out) while it loads; ``fail``, ``gone`` (it fails, and is unloaded all the
    same), ``keep``, ``late`` (its memory comes back late, or not), ``hang``, ``cancel`` while it
    unloads; ``fail`` while it works.
    """

    device = "cpu"

    def __init__(
        self,
        machine: Machine,
        name: str,
        resident: Mapping[str, int],
        *,
        peak: Mapping[str, int] | None = None,
        part: Mapping[str, int] | None = None,
        seconds: float = 1.0,
        says: str = "a b c",
    ) -> None:
        self.machine = machine
        self.name = name
        self.resident = dict(resident)
        self.peak = {p: max(s, self.resident.get(p, 0)) for p, s in (peak or {}).items()}
        self.part = dict(part or {})
        self.seconds = seconds
        self.says = says
        self.faults: dict[str, str] = {}
        self.is_loaded = False
        self.loads = 0
        self.unloads = 0
        self.running = 0
        self._held: dict[str, int] = {}
        self._loading = False
        self._unloading = False

    def _expect(self, holds: bool, what: str) -> None:
        self.machine.expect(holds, f"{self.name}: {what}")

    def _hold(self, amounts: Mapping[str, int]) -> None:
        for pool in self._held.keys() | amounts.keys():
            change = amounts.get(pool, 0) - self._held.get(pool, 0)
            self.machine.take(self.name, {pool: abs(change)}, 1 if change > 0 else -1)
        self._held = dict(amounts)

    async def _point(self, name: str) -> None:
        """An await at which something may go wrong."""
        fault = self.faults.pop(name, None)
        if fault == "hang":
            await asyncio.sleep(100)
        elif fault == "cancel":
            raise asyncio.CancelledError
        elif fault == "fail":
            raise Boom(f"{self.name} at {name}")
        elif fault == "memory":
            raise MemoryError(f"{self.name}: out of memory")
        await asyncio.sleep(self.seconds / 2)

    async def load(self) -> None:
        self._expect(not self._loading, "two loads at once")
        self._expect(not self._unloading, "a load during an unload")
        self._expect(not self.is_loaded, "a load of what is loaded")
        self._loading = True
        self.loads += 1
        try:
            await self._point("load begins")
            self._hold({pool: size // 2 for pool, size in self.resident.items()})
            await self._point("load goes on")
            self._hold({**self.resident, **self.peak})
            await self._point("load ends")
            self._hold(self.resident)
            self.is_loaded = True
        finally:
            self._loading = False

    async def unload(self) -> None:
        self._expect(not self._unloading, "two unloads at once")
        self._expect(self.running == 0, "an unload while it works")
        self._expect(not self._loading, "an unload while it loads")
        self._unloading = True
        # What is left of a load that failed always goes: a manager could not know of it.
        fault = self.faults.pop("unload", None) if self.is_loaded else None
        try:
            if fault == "fail":
                await asyncio.sleep(self.seconds / 2)
                raise Boom(f"{self.name} will not go")
            if fault == "cancel":
                await asyncio.sleep(self.seconds / 2)
                raise asyncio.CancelledError
            await asyncio.sleep(100 if fault == "hang" else self.seconds / 2)
            held = dict(self._held)
            if self.is_loaded:
                self.unloads += 1
            self.is_loaded = False
            self._hold({})
            if fault in ("keep", "late"):
                self.machine.keep(held)
            if fault == "late":
                loop = asyncio.get_running_loop()
                back = {pool: -size for pool, size in held.items()}
                loop.call_later(1.0, self.machine.keep, back)
            if fault == "gone":
                raise Boom(f"{self.name} went with a bang")
        finally:
            self._unloading = False

    async def complete(self, messages: Any, options: Any = None) -> ModelResponse:
        self._begin()
        try:
            await self._work()
        finally:
            self._end()
        return ModelResponse(content=self.says)

    def complete_stream(self, messages: Any, options: Any = None) -> InferenceChunkStream:
        async def pieces() -> AsyncIterator[InferenceChunk]:
            self._begin()
            try:
                for word in self.says.split():
                    await self._work()
                    yield InferenceChunk(content=word)
            finally:
                self._end()

        return InferenceChunkStream.of(pieces())

    def _begin(self) -> None:
        self._expect(self.is_loaded, "a request while it is not loaded")
        self._expect(not self._unloading, "a request during its unload")
        self.running += 1
        self.machine.take(self.name, self.part)

    async def _work(self) -> None:
        await asyncio.sleep(self.seconds / 2)
        self._expect(self.is_loaded, "it was unloaded while it worked")
        if self.faults.pop("work", None):
            raise Boom(f"{self.name} at work")

    def _end(self) -> None:
        self.running -= 1
        self.machine.take(self.name, self.part, -1)

    def use(self) -> Working:
        """What a holder of a lease does with it."""
        return Working(self)


class Working:
    """A model at work, for as long as a block lasts."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    def __enter__(self) -> Fake:
        self._fake._begin()
        return self._fake

    def __exit__(self, *_: object) -> None:
        self._fake._expect(self._fake.is_loaded, "it was unloaded while it was held")
        self._fake._end()


class SharingFake(Fake):
    """One that keeps some cores busy, and can do with fewer."""

    threads = 3

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.share = 0

    def share_threads(self, threads: int) -> None:
        self.share = threads


class FixedFake(Fake):
    """One that keeps a fixed number of cores busy."""

    threads = 3
