"""A look at the queue: what can begin now, what must go for it, and what has to wait.

One look goes through the queue in order: each takes its share of what is free, or names the models
that must go for it. What one waits for, none behind it can have. The next look begins from nothing,
so that a state which changed in between can't mislead it.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from blazen.manager.entries import (
    Demand,
    Entry,
    Phase,
    Wake,
)
from blazen.manager.policy import Holding, Snapshot, choose
from blazen.manager.pools import write_amounts
from blazen.manager.status import Explanation
from blazen.manager.ties import Ties, add_known, first_need, held_for, passed_by
from blazen.types.footprint import Amounts, total

_NONE: frozenset[Any] = frozenset()


class Look(Ties):
    """Finds out what is to be done next."""

    def pump(self, now: float) -> None:
        """Go through the queue: begin what can begin, and have go what must."""
        self._now = now
        self._looked, self._nobody = True, False
        for entry in self._claimed:
            entry.claimed_by = None
            self._refresh(entry)
        self._claimed = []
        self._cores_wanted = False
        self._let_go_of_idle(now)
        if not self.queue:
            return
        room = self._room()
        earlier: list[Demand] = []
        for demand in tuple(self.queue):
            if self._must_wait(demand, room):
                earlier.append(demand)
                continue
            demand.claims, demand.awaits, demand.need, demand.gain = set(), set(), {}, {}
            if not demand.tickets:
                self._drop(demand)
                self._refresh(demand.entry)
                continue
            self._consider(demand, room, earlier, now)
            if demand.entry.demand is demand and demand.entry.phase is not Phase.Loading:
                earlier.append(demand)
        if self._returning:
            self._returning = False
            self.pump(now)

    def _must_wait(self, demand: Demand, room: dict[str, int]) -> bool:
        """Have a demand wait, without more ado, when nobody is left who may go for it.

        It is what `_consider` comes to then: with many in the queue, it is so for nearly all.
        """
        if not self._nobody or demand.nested or demand.possible != self._limits:
            return False
        if demand.entry.phase is not Phase.Unloaded or demand.background or not demand.tickets:
            return False
        need = first_need(demand.entry)
        for pool, size in need.items():
            if size > room[pool]:
                break
        else:
            return False
        demand.claims, demand.need, demand.gain = set(), need, {}
        demand.awaits = self._in_use() if self._nested else set()
        _add(room, need, -1)
        return True

    def _in_use(self) -> set[Entry]:
        return {entry for entry in self._resident if entry.leases}

    def _consider(
        self, demand: Demand, room: dict[str, int], earlier: list[Demand], now: float
    ) -> None:
        entry = demand.entry
        locked = held_for(demand)
        if locked:
            locked |= self._locked_with(demand, drains=True)
        passed = passed_by(locked, earlier)
        # What goes only when this one's holders end is no room for it.
        tied = total(*(e.held for e in locked if e.retiring))
        if passed:
            # They wait for this one's holders: what they wait for must not hold it up in turn.
            _add(room, total(*(other.need for other in passed)))
            _add(room, total(*(other.gain for other in passed)), -1)
        _add(room, tied, -1)
        if entry.phase is Phase.Ready:
            self._admit(demand, room, passed, locked, now)
        elif entry.phase is Phase.Unloaded:
            assert entry.footprint is not None
            need = first_need(entry)
            if self._make_room(demand, need, room, passed, locked, now):
                self._start_loading(entry, need)
                _add(room, need, -1)
                self.queue.remove(demand)
        else:  # it is being unloaded: it needs its memory again, after those before it
            demand.need = first_need(entry)
            _add(room, demand.need, -1)
        _add(room, tied)
        if passed:
            _add(room, total(*(other.need for other in passed)), -1)
            _add(room, total(*(other.gain for other in passed)))

    def _admit(
        self,
        demand: Demand,
        room: dict[str, int],
        passed: set[Demand],
        locked: set[Entry],
        now: float,
    ) -> None:
        """Give a loaded model to those who wait for it, as far as there is room for each."""
        entry = demand.entry
        assert entry.footprint is not None or entry.remote
        claimed = entry.claimed_by is not None and entry.claimed_by not in passed
        closed = entry.retiring or claimed
        part = entry.footprint.per_request if entry.footprint is not None else {}
        for ticket in tuple(demand.tickets):
            held = tuple(ticket.held_before())
            if closed and not (held and entry in self._locked_with(demand, drains=True)):
                demand.awaits.add(entry)
                if entry.claimed_by is not None:
                    demand.awaits |= entry.claimed_by.awaits
                continue
            if ticket.cores and not held and not (entry.running or self._has_cores(entry)):
                # It has its turn when those who run have ended what they do.
                self._cores_wanted = True
                self._claim(demand, self._active)
                continue
            if part and not self._make_room(demand, part, room, passed, locked, now):
                break
            if part:
                _add(room, part, -1)
            self._serve(ticket, demand, now)
        if not demand.tickets:
            self._drop(demand)
            self._refresh(entry)

    def _make_room(
        self,
        demand: Demand,
        need: dict[str, int],
        room: dict[str, int],
        passed: set[Demand],
        locked: set[Entry],
        now: float,
    ) -> bool:
        """Tell whether there is room now; if not, have others go or claim them."""
        holdings: list[Holding] = []
        if (locked or not self._nobody) and any(size > room[p] for p, size in need.items()):
            holdings = self._may_go(demand.entry, locked, passed)
            # In one look, nobody who may go for those behind may not go for this one.
            self._nobody = not (holdings or locked or demand.entry.phase is Phase.Ready)
        snapshot = Snapshot(now, room, holdings)
        chosen: tuple[Holding, ...] | None
        if demand.background:
            chosen = () if all(room[p] >= size for p, size in need.items()) else None
        else:
            chosen = choose(snapshot, need, self.policy)
        if chosen is None:
            if not self._give_up(demand, need):
                # There is no saying whose end it waits for: it may be anyone's.
                demand.awaits |= self._in_use()
                _add(room, need, -1)
                demand.need = total(demand.need, need)
            return False
        if not chosen and all(self.ledger.free(p) >= size for p, size in need.items()):
            return True
        victims = [self.entries[holding.id] for holding in chosen]
        for victim in victims:
            if victim.claimed_by is not None:  # it goes for this one now
                victim.claimed_by.claims.discard(victim)
                add_known(victim.claimed_by.gain, {p: -s for p, s in victim.held.items()})
                victim.claimed_by = None
        gain = total(*(victim.held for victim in victims))
        if any(victim.leases for victim in victims):
            self._claim(demand, victims)
        else:
            for victim in victims:
                demand.entry.victims.append(victim)
                self._start_unloading(victim, now, demand.entry)
        closed = (entry for entry in self._resident if entry.retiring or entry.claimed_by)
        demand.awaits |= {entry for entry in closed if entry.leases}
        _add(room, gain)
        _add(room, need, -1)
        demand.need, demand.gain = total(demand.need, need), total(demand.gain, gain)
        return False

    def _give_up(self, demand: Demand, need: dict[str, int]) -> bool:
        """Refuse a demand that could not be met even if every request ended; say whether it was."""
        entry = demand.entry
        lacking = self._never(entry, need, set())
        if lacking or demand.background:
            self._refuse(demand, self._no_room(entry, need, lacking))
            if not demand.background:
                self._bring_back(entry, self._now)
            return True
        demand.possible = self._limits
        for ticket in reversed(tuple(demand.nested)):
            held = {other.entry.id for other in ticket.held_before()}
            # Those who hold nothing can still have it, once these give back what they hold.
            if held and self._never(entry, need, self._locked_with(demand)):
                self._dequeue(ticket, demand, keep=True)
                self._settle_with(ticket, self._would_wait_for_itself(entry, need, held))
        if not demand.tickets:
            self._drop(demand)
            self._bring_back(entry, self._now)
            return True
        return False

    def _may_go(
        self, entry: Entry, locked: Set[Entry] = _NONE, passed: Set[Demand] = _NONE
    ) -> list[Holding]:
        """List the models that may go for another, the least recently used first."""
        ready = Phase.Ready  # an enum's members are slow to look up, and this is a long loop
        found = [
            other
            for other in self._resident
            if other.phase is ready
            and other is not entry
            and not (other.pinned or other.broken or other.retiring)
            and (other.claimed_by is None or other.claimed_by in passed)
            and other not in locked
        ]
        found.sort(key=_used_at)
        return [other.holding() for other in found]

    def _room(self) -> dict[str, int]:
        """Give what is free, and what is about to be."""
        room = {pool: self.ledger.free(pool) for pool in self.ledger.budgets}
        ready, unloading = Phase.Ready, Phase.Unloading
        for entry in self._resident:
            if entry.phase is unloading or (entry.retiring and entry.phase is ready):
                _add(room, entry.held)
        return room

    def _claim(self, demand: Demand, entries: Iterable[Entry]) -> None:
        for entry in entries:
            demand.awaits.add(entry)
            if entry.claimed_by is None and entry is not demand.entry:
                entry.claimed_by = demand
                demand.claims.add(entry)
                self._claimed.append(entry)
                self._refresh(entry)

    def _let_go_of_idle(self, now: float) -> None:
        idle = [e for e in self._resident if e.retiring or e.keep_alive is not None]
        for entry in idle:
            if entry.phase is not Phase.Ready or entry.leases:
                continue
            if entry.retiring:
                self._start_unloading(entry, now)
            elif (
                entry.keep_alive is not None
                and entry.idle_since is not None
                and not (entry.pinned or entry.broken or entry.demand is not None)
            ):
                if now >= entry.idle_since + entry.keep_alive:
                    self._start_unloading(entry, now)
                else:
                    self._wake_for(entry, now)

    def _wake_for(self, entry: Entry, now: float) -> None:
        """See that the end of a model's idle time is noticed, with one timer for each model."""
        assert entry.keep_alive is not None
        assert entry.idle_since is not None
        end = entry.idle_since + entry.keep_alive
        # A timer that would ring later is no use: it was set before the time was made shorter.
        if entry.wake_at is None or entry.wake_at <= now or entry.wake_at > end:
            entry.wake_at = end
            self._actions.append(Wake(entry.wake_at))

    def explain(self, entry: Entry, now: float) -> Explanation:
        """Say what a request for a model would lead to; nothing changes."""
        fallback = next((name for name in entry.fallback if name in self.entries), "")
        ready = entry.phase is Phase.Ready and entry.claimed_by is None and not entry.retiring
        if ready or entry.phase is Phase.Loading:
            return Explanation(
                entry.id,
                ready=ready,
                possible=True,
                load_seconds=entry.load_seconds,
                fallback=fallback,
                reason=f"{entry.id!r}: {self.what_about(entry)}",
            )
        need = first_need(entry)
        before = [demand for demand in self.queue if demand.entry is not entry]
        room = self._room()
        for demand in before:
            # What is being unloaded for it is in the room already.
            _add(room, total(*(claimed.held for claimed in demand.claims)))
            _add(room, demand.need, -1)
        chosen = choose(Snapshot(now, room, self._may_go(entry)), need, self.policy)
        lacking = self._never(entry, need, set())
        busy = tuple(holding.id for holding in chosen or () if holding.busy)
        if lacking:
            reason = str(self._no_room(entry, need, lacking))
        elif chosen is None:
            reason = f"{entry.id!r} waits for {len(before)} others; {self.who_holds(need)}"
        elif busy:
            names = ", ".join(map(repr, busy))
            reason = f"{entry.id!r} waits until {names} have ended their requests"
        elif chosen:
            names = ", ".join(repr(holding.id) for holding in chosen)
            reason = f"{names} would go for {entry.id!r}"
        else:
            reason = f"there is room for the {write_amounts(need)} that {entry.id!r} needs"
        return Explanation(
            entry.id,
            ready=False,
            possible=not lacking,
            needs=need,
            evicts=tuple(holding.id for holding in chosen or ()),
            waits_for=busy,
            behind=len(before),
            load_seconds=entry.load_seconds,
            fallback=fallback,
            reason=reason,
        )

    def what_about(self, entry: Entry) -> str:
        """Say in a few words what keeps a model, or nothing."""
        if entry.phase is Phase.Loading:
            return "it is loading"
        if entry.phase is Phase.Unloading:
            return "it is being unloaded"
        if entry.claimed_by is not None:
            return f"it makes way for {entry.claimed_by.entry.id!r}"
        if entry.phase is Phase.Ready:
            used = f", and in use by {len(entry.leases)}" if entry.leases else ""
            return f"it is loaded{used}"
        if not entry.recalled:
            return "it is being found out what it takes"
        demand = entry.demand
        if demand is None:
            return "nobody waits for it"
        before = sum(1 for other in self.queue if other.order() < demand.order())
        return f"it waits for room, behind {before} others"


def _add(room: dict[str, int], amounts: Amounts, sign: int = 1) -> None:
    for pool, size in amounts.items():
        room[pool] += sign * size


def _used_at(entry: Entry) -> float:
    return entry.used_at
