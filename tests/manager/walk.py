"""Random tasks in the sans-io scheduler: each takes models, one within another, and lets go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blazen.manager.entries import Entry, Phase, Ticket
from blazen.types.footprint import Footprint, total
from tests.manager.world import World


class Tape:
    """Numbers that were drawn beforehand; where they end, the first choice is taken."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)
        self._at = 0

    @property
    def over(self) -> bool:
        return self._at >= len(self._numbers)

    def below(self, limit: int) -> int:
        if self.over or limit <= 1:
            self._at += 1
            return 0
        self._at += 1
        return self._numbers[self._at - 1] % limit

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.below(len(choices))]


class Actor:
    """A task that takes some models, one within the other, and then gives all back."""

    def __init__(self, wishes: list[tuple[Entry, bool, int]]) -> None:
        self.wishes = wishes
        self.held: list[Ticket] = []
        self.waits: Ticket | None = None
        self.over = False


class Walk:
    """A world, tasks in it, and faults; ends with the proof that nobody waits for ever."""

    def __init__(self, tape: Tape, *, faults: bool = True) -> None:
        self.tape = tape
        self.faults = faults
        two = tape.below(3) == 2
        budgets = {"cpu": 6 + tape.below(8)}
        if two:
            budgets["gpu:0"] = 4 + tape.below(8)
        self.world = World(budgets, cores=tape.pick([0, 0, 4]), max_waiting=None)
        self.entries: list[Entry] = []
        for number in range(2 + tape.below(4)):
            self._register(f"m{number}")
        self.actors: list[Actor] = []
        self.quarantined: list[str] = []
        self.unloads = tape.pick([1, 3])

    def _register(self, name: str) -> None:
        tape, budgets = self.tape, self.world.scheduler.ledger.budgets
        resident, peak, part = {}, {}, {}
        for pool, budget in budgets.items():
            if pool == "cpu" or tape.below(2):
                resident[pool] = 1 + tape.below(max(1, budget * 3 // 4))
                if tape.below(4) == 3:
                    peak[pool] = min(budget, resident[pool] + tape.below(4))
        if tape.below(3) == 2:
            part["cpu"] = 1 + tape.below(2)
        entry = self.world.add(
            name,
            Footprint(resident, peak, part),
            pinned=tape.below(12) == 11,
            priority=tape.pick([0, 0, 0, 1]),
            keep_alive=tape.pick([None, None, None, 0.0, 5.0]),
            threads=tape.pick([0, 1, 3, 4]),
            fixed_threads=tape.below(2) == 0,
        )
        self.entries.append(entry)

    def run(self) -> None:
        while not self.tape.over:
            self.step()
        self.finish()

    def step(self) -> None:
        world, tape = self.world, self.tape
        choices: list[Any] = [self._begin, self._begin]
        choices += [lambda a=a: self._go_on(a) for a in self.actors if not a.over]
        choices += [lambda e=e: self._end_load(e) for e in world.loading]
        choices += [lambda e=e: self._end_unload(e) for e in world.unloading]
        choices += [self._unload] * self.unloads
        choices += [lambda: world.pass_time(1.0 + tape.below(6))]
        choices += [lambda a=a: self._give_up(a) for a in self.actors if a.waits is not None]
        choices += [self._adjust]
        tape.pick(choices)()
        self._listen()

    def _begin(self) -> None:
        if sum(not actor.over for actor in self.actors) >= 5:
            return
        depth = 1 + self.tape.pick([0, 0, 1, 1, 2])
        wishes = [
            (self.tape.pick(self.entries), self.tape.below(2) == 1, self.tape.pick([0, 0, 0, 2]))
            for _ in range(depth)
        ]
        actor = Actor(wishes)
        self.actors.append(actor)
        self._go_on(actor)

    def _go_on(self, actor: Actor) -> None:
        if actor.over or actor.waits is not None:
            return
        if not actor.wishes:
            self._leave(actor)
            return
        entry, cores, priority = actor.wishes.pop(0)
        parent = actor.held[-1] if actor.held else None
        ticket = self.world.ask(entry, parent, cores=cores, priority=priority)
        actor.waits = ticket
        self._listen()

    def _listen(self) -> None:
        for actor in self.actors:
            ticket = actor.waits
            if ticket is None or ticket not in self.world.outcomes:
                continue
            actor.waits = None
            if self.world.outcomes[ticket] is None:
                assert ticket.granted
                actor.held.append(ticket)
            else:
                assert not ticket.granted
                self._leave(actor)

    def _leave(self, actor: Actor) -> None:
        actor.over = True
        for ticket in reversed(actor.held):
            self.world.release(ticket)
        actor.held = []

    def _give_up(self, actor: Actor) -> None:
        ticket = actor.waits
        assert ticket is not None
        actor.waits = None
        self.world.cancel(ticket)
        self._leave(actor)

    def _unload(self) -> None:
        self.world.unload(self.tape.pick(self.entries))

    def _adjust(self) -> None:
        entry = self.tape.pick(self.entries)
        self.world.adjust(
            entry,
            pinned=self.tape.below(6) == 5,
            keep_alive=self.tape.pick([None, None, 0.0, 1.0, 5.0]),
            priority=self.tape.pick([0, 0, 1]),
        )

    def _end_load(self, entry: Entry) -> None:
        world = self.world
        how = self.tape.below(6) if self.faults else 0
        if entry in world.stopped or how in (4, 5):
            world.failed(entry, out_of_memory=how == 5)
        elif how == 3 and self.faults:
            world.lied = True
            assert entry.footprint is not None
            world.loaded(entry, total(entry.footprint.resident, {"cpu": self.tape.below(3)}))
        else:
            world.loaded(entry)

    def _end_unload(self, entry: Entry) -> None:
        how = self.tape.below(6) if self.faults else 0
        if how == 4:
            self.world.still_there(entry)
        elif how == 5:
            self.world.gone(entry, {"cpu": min(1, entry.charges.get("cpu", 0))})
            self.quarantined.append(entry.id)
        else:
            self.world.gone(entry)

    def finish(self) -> None:
        """End all loads and unloads well, and let every task come to its end."""
        world = self.world
        for _ in range(10_000):
            if world.unloading:
                world.gone(world.unloading[0])
            elif world.loading:
                self._end_load(world.loading[0])
            else:
                ready = [actor for actor in self.actors if not actor.over and actor.waits is None]
                if not ready:
                    break
                self._go_on(ready[0])
            self._listen()
        stuck = [actor for actor in self.actors if not actor.over]
        assert not stuck, f"{len(stuck)} tasks wait for ever"
        assert not world.scheduler.queue
        assert world.scheduler.waiting == 0
        assert world.scheduler.cores_used == 0
        for entry in self.entries:
            if entry.phase is not Phase.Unloaded:
                world.unload(entry)
        world.settle()
        assert not any(world.scheduler.ledger.used.values())
        for name in self.quarantined:
            world.scheduler.reclaimed(name, {}, world.now)
        world.settle()
        assert not any(world.scheduler.ledger.quarantined.values())
