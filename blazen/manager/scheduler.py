"""Who holds what, who waits for what, and what is to be done next.

A machine of states without a clock, a lock, a task or a model of its own. Whoever drives it, the
manager with real models or the simulator with a virtual clock, calls one method at a time and
then does what `take_actions` gives, in order.

A request that can't begin waits in the queue, one place for each model. A look at the queue
(`pump`) goes through it in order: each takes its share of what is free, or names the models
that must go for it. What one waits for, none behind it can have. Nothing of this is kept from one
look to the next, so that a state which changed in between can't mislead it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from blazen.errors import BudgetError, ValidationError
from blazen.manager.entries import (
    Demand,
    Entry,
    Load,
    Phase,
    Settle,
    Share,
    StopLoading,
    Ticket,
    Unload,
    Wake,
)
from blazen.manager.events import EventKind
from blazen.manager.policy import Holding, Policy, Snapshot, choose, least_recently_used
from blazen.manager.pools import Ledger, check_pools, write_amounts
from blazen.manager.status import Explanation
from blazen.types.footprint import Amounts, Footprint, largest, total

PATIENCE = 16
"""How many demands of a higher priority may pass one that waits, before it goes first."""

THRASH_SECONDS = 60.0
"""A model that has to come back this soon after it went should not have gone."""

THRASH_RELOADS = 3

Tell = Callable[..., None]

_NONE: frozenset[Any] = frozenset()


def _silent(*_: Any, **__: Any) -> None:
    """Tell nobody."""


class Scheduler:
    """Decides; does nothing. Its methods take the time, on whatever clock."""

    def __init__(
        self,
        budgets: Mapping[str, int],
        *,
        policy: Policy = least_recently_used,
        cores: int = 0,
        max_waiting: int | None = None,
        tell: Tell = _silent,
    ) -> None:
        self.ledger = Ledger(budgets)
        self.policy = policy
        self.cores = cores
        self.cores_used = 0
        self.max_waiting = max_waiting
        self.entries: dict[str, Entry] = {}
        self.waiting = 0
        self.queue: list[Demand] = []
        self._resident: dict[Entry, None] = {}
        """Every entry that is not unloaded."""
        self._claimed: list[Entry] = []
        self._active: dict[Entry, None] = {}
        """Every entry that keeps cores busy."""
        self._cores_wanted = False
        """Whether someone waits for cores: those who come later may not have them first."""
        self._tell = tell
        self._number = 0
        self._now = 0.0
        self._returning = False
        """Whether the queue has grown while it was looked at."""
        self._looked = False
        """Whether the last look at the queue knew what the machine can give."""
        self._nobody = False
        """Whether this look has found that nobody is left who may go."""
        self._limits = 0
        """Grows when less than before can be had at best: then what was possible may not be."""
        self._nested = 0
        """How many wait whose holders may have something already."""
        self._actions: list[Any] = []

    # What drives it

    def take_actions(self) -> list[Any]:
        """Take what is to be done, in order."""
        actions, self._actions = self._actions, []
        return actions

    @property
    def has_actions(self) -> bool:
        """Whether there is something to be done."""
        return bool(self._actions)

    def add(self, entry: Entry) -> None:
        """Register a model."""
        self.entries[entry.id] = entry
        self._refresh(entry)

    def add_loaded(self, entry: Entry, now: float) -> None:
        """Register a model that is in memory already."""
        assert entry.footprint is not None
        need = entry.footprint.resident
        lacking = {p: s for p, s in need.items() if s > self.ledger.free(p)}
        if lacking:
            raise BudgetError(
                f"{entry.id!r} is loaded already and holds {write_amounts(need)}, and there is no "
                f"room for {write_amounts(lacking)}: {self.who_holds(lacking)}; unload it first, "
                "and the manager loads it when there is room"
            )
        self.entries[entry.id] = entry
        self._charge(entry, need)
        self._resident[entry] = None
        entry.phase = Phase.Ready
        entry.loaded_at = entry.used_at = now
        self._rest(entry, now)
        self._refresh(entry)

    def remove(self, entry: Entry) -> bool:
        """Forget a model, unless it is in memory; who waits for it is turned away."""
        self.turn_away(entry)
        if not entry.remote and (entry.phase is not Phase.Unloaded or entry.demand is not None):
            return False
        if self.entries.get(entry.id) is entry:  # not another one that has its name by now
            del self.entries[entry.id]
        return True

    # Requests

    def acquire(self, ticket: Ticket, now: float) -> bool:
        """Give the model at once, where nothing stands against it."""
        entry = ticket.entry
        if entry.open and (not ticket.cores or entry.running or self._has_cores(entry)):
            self._grant(ticket, now)
            return True
        return False

    def wait(self, ticket: Ticket, now: float) -> None:
        """Queue a request; its `Settle` follows."""
        entry = ticket.entry
        if entry.leaving:
            raise ValidationError(f"{entry.id!r} is being unregistered: it takes no requests")
        if entry.phase is Phase.Ready and not (ticket.keeps or entry.retiring):
            self._actions.append(Settle(ticket, None))
            return
        if self.max_waiting is not None and self.waiting >= self.max_waiting:
            raise BudgetError(
                f"{self.waiting} requests wait already, and no more may (max_waiting): "
                f"{entry.id!r} was not asked; {self.who_holds(self.ledger.budgets)}"
            )
        demand = entry.demand
        place = None if demand is None else demand.order()
        self._join(ticket, ticket.priority, now)
        # Whoever joins others that a look has found no way for changes nothing by that.
        joins = demand is not None and demand.order() == place and ticket.parent is None
        if entry.phase is Phase.Ready or (
            entry.phase is not Phase.Loading and not (joins and self._looked)
        ):
            self.pump(now)
        if ticket.waiting:
            self._tell(EventKind.Waiting, entry.id)

    def cancel(self, ticket: Ticket, now: float) -> None:
        """Hear that a request no longer waits; one that was just granted gives back."""
        if ticket.granted:
            self.release(ticket, now)
            return
        if not ticket.waiting:
            return
        entry, demand = ticket.entry, ticket.entry.demand
        assert demand is not None
        self._dequeue(ticket, demand)
        if not demand.tickets:
            if entry.phase is Phase.Loading:
                self._actions.append(StopLoading(entry))
            else:
                self._bring_back(entry, now)
        self.pump(now)

    def release(self, ticket: Ticket, now: float) -> None:
        """Hear that a holder is done."""
        entry = ticket.entry
        if not ticket.granted:
            return
        ticket.granted = False
        entry.leases.discard(ticket)
        freed = not entry.leases
        if ticket.cores and entry.threads:
            entry.running -= 1
            if not entry.running:
                self._stop_running(entry)
                freed = True
        if entry.footprint is not None and entry.footprint.per_request:
            part = entry.footprint.per_request
            self.ledger.change(part, {})
            entry.per_request = total(entry.per_request, {p: -s for p, s in part.items()})
            freed = True
        if freed and entry.phase is Phase.Ready:
            if not entry.leases:
                self._rest(entry, now)
            if self.queue or entry.retiring:
                self.pump(now)

    def unload(self, ticket: Ticket, now: float) -> None:
        """Have a model go once its requests have ended; the ticket settles when it is gone."""
        entry = ticket.entry
        if entry.phase is Phase.Unloaded:
            self._actions.append(Settle(ticket, None))
            return
        entry.unloaders.append(ticket)
        entry.broken = False
        if entry.phase is Phase.Ready:
            entry.retiring = True
            self._refresh(entry)
            self.pump(now)

    def keep(self, ticket: Ticket, now: float) -> None:
        """Hear that nobody wants a model gone any more: it stays."""
        entry = ticket.entry
        if ticket in entry.unloaders:
            entry.unloaders.remove(ticket)
            if not entry.unloaders and entry.phase is Phase.Ready:
                entry.retiring = any(pool in entry.charges for pool in self.ledger.excess())
                self._limits += entry.pinned
                self._refresh(entry)
                self.pump(now)

    def turn_away(self, entry: Entry, now: float = 0.0) -> None:
        """Refuse all who wait for a model that is being unregistered."""
        if entry.demand is not None and entry.phase is not Phase.Loading:
            words = f"{entry.id!r} was unregistered while requests waited for it"
            self._refuse(entry.demand, ValidationError(words))
            self._bring_back(entry, now)

    # What became of loads and unloads

    def loaded(self, entry: Entry, charges: Amounts, seconds: float, now: float) -> None:
        """Hear that a model is loaded, and what it holds."""
        assert entry.phase is Phase.Loading
        entry.phase = Phase.Ready
        entry.loads += 1
        entry.load_seconds = seconds
        entry.loaded_at = entry.used_at = now
        entry.uses = 0
        entry.problem = ""
        entry.extra = {}
        self._charge(entry, charges)
        self._note_return(entry, now)
        self._tell(EventKind.Loaded, entry.id, seconds=seconds, bytes=dict(charges))
        if self._is_too_much(entry, now):
            return
        entry.victims = []
        entry.retiring = bool(entry.unloaders)
        demand = entry.demand
        if demand is not None and demand.tickets:
            # It came for them: they have it before anyone can have it go again.
            assert entry.footprint is not None
            part = entry.footprint.per_request
            for ticket in tuple(demand.tickets):
                # With a part to pay for each request, those before could keep it from its turn.
                idle = not part and not self._may_run(ticket)
                waits = entry.leases or self.ledger.lacking(part) or idle
                if not (ticket.keeps and waits):
                    self._serve(ticket, demand, now)
            if demand.tickets:
                self._enqueue(demand, again=True)
            else:
                entry.demand = None
        else:
            entry.demand = None
        if not entry.leases:
            self._rest(entry, now)
        self._refresh(entry)
        self.pump(now)

    def load_failed(
        self, entry: Entry, error: BaseException | None, now: float, *, out_of_memory: bool = False
    ) -> None:
        """Hear that a load ended without a model; with no error, it was stopped for want of use."""
        assert entry.phase is Phase.Loading
        demand, needed = entry.demand, dict(entry.charges)
        self._gone(entry)
        if error is None:
            entry.extra = {}
            self._bring_back(entry, now)
            if demand is not None and demand.tickets:  # someone came after all
                self._enqueue(demand, again=True)
            else:
                entry.demand = None
            self._finish_unloaders(entry)
            self._refresh(entry)
            self.pump(now)
            return
        entry.problem = str(error)
        retry = out_of_memory and not entry.extra and self._could_give_more(entry, needed, now)
        if retry and demand is not None and demand.tickets:
            self._tell(EventKind.Retrying, entry.id, detail=str(error))
            self._enqueue(demand, again=True)
        else:
            entry.extra = {}
            self._tell(EventKind.LoadFailed, entry.id, detail=str(error))
            if demand is not None:
                self._refuse(demand, error)
            self._bring_back(entry, now)
        self._finish_unloaders(entry)
        self._refresh(entry)
        self.pump(now)

    def unloaded(
        self, entry: Entry, kept: Amounts, now: float, error: BaseException | None = None
    ) -> None:
        """Hear that a model is unloaded, and what of its memory did not come back."""
        assert entry.phase is Phase.Unloading
        self._gone(entry)
        if kept:  # on top of what is missing of an earlier load
            self._limits += 1
            self.ledger.set_quarantine(
                entry.id, total(self.ledger.quarantine.get(entry.id, {}), kept)
            )
        if error is None:
            self._tell(EventKind.Unloaded, entry.id)
        else:
            entry.problem = str(error)
            self._tell(EventKind.UnloadFailed, entry.id, detail=str(error))
        if kept:
            self._tell(EventKind.Quarantined, entry.id, bytes=dict(kept))
        self._finish_unloaders(entry, error)
        self._refresh(entry)
        self.pump(now)

    def still_there(self, entry: Entry, error: BaseException, now: float) -> None:
        """Hear that a model could not be unloaded and goes on holding what it held."""
        assert entry.phase is Phase.Unloading
        entry.phase = Phase.Ready
        entry.broken, entry.retiring = True, False
        self._limits += 1
        entry.problem = str(error)
        self._tell(EventKind.UnloadFailed, entry.id, detail=str(error))
        self._finish_unloaders(entry, error)
        self._refresh(entry)
        self.pump(now)

    def measured(self, entry: Entry, charges: Amounts, now: float) -> None:
        """Follow what a loaded model was measured to hold."""
        if entry.phase is Phase.Ready:
            self._charge(entry, charges)
            if not self._is_too_much(entry, now):
                self.pump(now)

    def worked_alone(self, entry: Entry) -> bool:
        """Tell whether no other model was asked for anything since this one was loaded."""
        return not any(
            other.leases or other.used_at >= entry.loaded_at
            for other in self._resident
            if other is not entry
        )

    def observe(self, available: Mapping[str, int | None]) -> None:
        """Note what the machine can still give, before a look at the queue."""
        loading = (entry.charges for entry in self._resident if entry.phase is Phase.Loading)
        self.ledger.observe(available, total(*loading))
        self._looked = False
        self._limits += 1

    def reclaimed(self, id: str, kept: Amounts, now: float) -> None:  # noqa: A002
        """Hear that memory came back late, and what is still missing."""
        before = self.ledger.quarantine.get(id, {})
        back = {p: s - kept.get(p, 0) for p, s in before.items() if s > kept.get(p, 0)}
        if back:
            self.ledger.set_quarantine(id, kept)
            self._tell(EventKind.Reclaimed, id, bytes=back)
            self.pump(now)

    # The look at the queue

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
        need = _first_need(demand.entry)
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
        locked = _held_for(demand)
        if locked:
            locked |= self._locked_with(demand, drains=True)
        passed = _passed_by(locked, earlier)
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
            need = _first_need(entry)
            if self._make_room(demand, need, room, passed, locked, now):
                self._start_loading(entry, need)
                _add(room, need, -1)
                self.queue.remove(demand)
        else:  # it is being unloaded: it needs its memory again, after those before it
            demand.need = _first_need(entry)
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
                _add_known(victim.claimed_by.gain, {p: -s for p, s in victim.held.items()})
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

    def _locked_with(self, demand: Demand, *, drains: bool = False) -> set[Entry]:
        """Find the models whose holders can't end before a demand is met.

        All who hold something and wait are set free one after another, as far as they can be met
        by what the others give back. What is left is held by those who wait for each other.
        ``drains`` says that a model which lets nobody in is waited for to be empty.
        """
        waiting = [
            other
            for other in self.queue
            if any(True for ticket in other.nested for _ in ticket.held_before())
        ]
        while True:
            locked = {held for other in waiting for held in _held_for(other)}
            free = [o for o in waiting if o is not demand and self._can_be_met(o, locked, drains)]
            if not free:
                return locked
            waiting = [other for other in waiting if other not in free]

    def _can_be_met(self, demand: Demand, locked: set[Entry], drains: bool) -> bool:
        entry = demand.entry
        if entry.phase is not Phase.Ready:
            return not self._never(entry, _first_need(entry), locked)
        closed = entry.retiring or entry.claimed_by is not None
        if drains and closed and entry in locked:
            return False
        part = entry.footprint.per_request if entry.footprint is not None else {}
        return not self._never(entry, part, locked)

    def _never(self, entry: Entry, need: Amounts, locked: set[Entry]) -> dict[str, int]:
        """Give what would lack although every other model that can go had gone."""
        stays = dict.fromkeys(need, 0)
        for other in self._resident:
            if other.phase is Phase.Unloading or (other.retiring and other not in locked):
                continue
            if other is entry:
                _add_known(stays, entry.charges)
                if entry in locked:
                    _add_known(stays, entry.per_request)
            elif other.pinned or other.broken or other in locked:
                # What loads takes more now than it will.
                footprint = other.footprint if other.phase is Phase.Loading else None
                _add_known(stays, other.held if footprint is None else footprint.resident)
        ledger = self.ledger
        out = {}
        for pool, size in need.items():
            most = ledger.budgets[pool] - ledger.quarantined[pool] - ledger.foreign[pool]
            if size > most - stays[pool]:
                out[pool] = size - (most - stays[pool])
        return out

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

    # Transitions

    def _start_loading(self, entry: Entry, need: Amounts) -> None:
        entry.phase = Phase.Loading
        self._resident[entry] = None
        self._charge(entry, need)
        self._refresh(entry)
        self._tell(EventKind.Loading, entry.id, bytes=dict(need))
        self._actions.append(Load(entry))

    def _start_unloading(self, entry: Entry, now: float, by: Entry | None = None) -> None:
        assert not entry.leases
        entry.phase = Phase.Unloading
        entry.retiring = False
        self._refresh(entry)
        if by is None:
            self._tell(EventKind.Unloading, entry.id)
        else:
            entry.evicted_at = now
            self._tell(EventKind.Evicting, entry.id, by=by.id)
        self._actions.append(Unload(entry))

    def _gone(self, entry: Entry) -> None:
        entry.phase = Phase.Unloaded
        entry.retiring = entry.broken = False
        entry.idle_since = None
        entry.uses = 0
        self._charge(entry, {})
        self._resident.pop(entry, None)

    def _grant(self, ticket: Ticket, now: float) -> None:
        entry = ticket.entry
        ticket.granted = True
        entry.leases.add(ticket)
        entry.used_at = now
        entry.idle_since = None
        entry.uses += 1
        if ticket.cores and entry.threads:
            entry.running += 1
            if entry.running == 1:
                self._start_running(entry)
        if entry.footprint is not None and entry.footprint.per_request:
            part = entry.footprint.per_request
            self.ledger.change({}, part)
            entry.per_request = total(entry.per_request, part)
            self._limits += entry.pinned or entry.broken

    def _serve(self, ticket: Ticket, demand: Demand, now: float) -> None:
        self._dequeue(ticket, demand, keep=True)
        ticket.entry.victims = []  # they went for good
        self._nobody = False
        if ticket.keeps:
            self._grant(ticket, now)
        self._actions.append(Settle(ticket, None))

    def _rest(self, entry: Entry, now: float) -> None:
        """Note that a model has nothing to do, and when it is to go for that."""
        entry.idle_since = now
        if entry.keep_alive is None or entry.pinned or entry.remote:
            return
        if entry.keep_alive > 0:
            self._wake_for(entry, now)
        elif entry.demand is None and not entry.broken:
            entry.retiring = True
            self._refresh(entry)
            self.pump(now)

    def _wake_for(self, entry: Entry, now: float) -> None:
        """See that the end of a model's idle time is noticed, with one timer for each model."""
        assert entry.keep_alive is not None
        assert entry.idle_since is not None
        if entry.wake_at is None or entry.wake_at <= now:
            entry.wake_at = entry.idle_since + entry.keep_alive
            self._actions.append(Wake(entry.wake_at))

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

    def _is_too_much(self, entry: Entry, now: float) -> bool:
        """Bring a pool that was measured to be over its budget back under it."""
        over = self.ledger.excess()
        excess = {pool: size for pool, size in over.items() if entry.charges.get(pool)}
        if not excess:
            return False
        room = self._room()
        snapshot = Snapshot(now, room, [h for h in self._may_go(entry) if not h.busy])
        chosen = choose(snapshot, dict.fromkeys(excess, 0), self.policy)
        for holding in chosen or ():
            self._start_unloading(self.entries[holding.id], now, entry)
        if chosen is not None:
            return False
        error = BudgetError(
            f"{entry.id!r} holds {write_amounts(entry.charges)}, far more than it was down for, "
            f"and {write_amounts(excess)} of that are over the budget: {self.who_holds(excess)}; "
            "give its footprint, or a larger pool"
        )
        entry.problem = str(error)
        if entry.demand is not None:
            self._refuse(entry.demand, error)
        self._bring_back(entry, now)
        if entry.leases:
            entry.retiring = True
            self._refresh(entry)
        else:
            self._start_unloading(entry, now)
            self.pump(now)
        return True

    def _could_give_more(self, entry: Entry, needed: Amounts, now: float) -> bool:
        """Have half again as much freed for a load that ran out, and at least one model go."""
        room = self._room()
        snapshot = Snapshot(now, room, self._may_go(entry))
        for pools in (needed, *({pool: size} for pool, size in needed.items())):
            more = {pool: max(pools[pool] // 2, room[pool] - pools[pool] + 1) for pool in pools}
            if choose(snapshot, total(needed, more), self.policy):
                entry.extra = more
                return True
        return False

    def _bring_back(self, entry: Entry, now: float) -> None:
        """Load again those who went for a load that then failed, as far as nobody else must go."""
        victims, entry.victims = entry.victims, []
        for victim in victims:
            registered = self.entries.get(victim.id) is victim and not victim.leaving
            if registered and victim.phase is not Phase.Ready:
                self._tell(EventKind.Restoring, victim.id, by=entry.id)
                ticket = Ticket(victim, background=True, keeps=False)
                self._join(ticket, -math.inf, now)
                self._returning = True

    def _note_return(self, entry: Entry, now: float) -> None:
        if entry.evicted_at is None:
            return
        soon = now - entry.evicted_at < THRASH_SECONDS
        entry.reloads = entry.reloads + 1 if soon else 0
        entry.evicted_at = None
        if entry.reloads and entry.reloads % THRASH_RELOADS == 0:
            self._tell(
                EventKind.Thrashing,
                entry.id,
                detail=f"it came back {entry.reloads} times within {THRASH_SECONDS:.0f} s of going",
            )

    # Cores

    def _has_cores(self, entry: Entry) -> bool:
        if not entry.threads or not self.cores or not self.cores_used:
            return True
        return not self._cores_wanted and self.cores_used + self._cores_of(entry) <= self.cores

    def _may_run(self, ticket: Ticket) -> bool:
        """Tell whether a request may keep cores busy; one whose holder has leases always may."""
        entry = ticket.entry
        if not ticket.cores or entry.running or any(ticket.held_before()):
            return True
        return self._has_cores(entry)

    def _cores_of(self, entry: Entry) -> int:
        return min(entry.threads, self.cores) if entry.fixed_threads else 1

    def _start_running(self, entry: Entry) -> None:
        self.cores_used += self._cores_of(entry)
        self._active[entry] = None
        self._share_out()

    def _stop_running(self, entry: Entry) -> None:
        self.cores_used -= self._cores_of(entry)
        self._active.pop(entry, None)
        self._share_out()

    def _share_out(self) -> None:
        """Divide the cores that fixed engines leave among those that can do with any number."""
        flexible = [entry for entry in self._active if not entry.fixed_threads]
        if not flexible or not self.cores:
            return
        fixed = self.cores_used - len(flexible)
        share = max(1, (self.cores - fixed) // len(flexible))
        for entry in flexible:
            threads = min(entry.threads, share)
            if entry.share != threads:
                entry.share = threads
                self._actions.append(Share(entry, threads))

    # The queue

    def _join(self, ticket: Ticket, priority: float, now: float) -> None:
        """Have a request wait with the others for its model, or in a place of its own."""
        entry, demand = ticket.entry, ticket.entry.demand
        ticket.waiting, ticket.since, ticket.passed = True, now, 0
        self.waiting += 1
        if demand is None:
            self._number += 1
            demand = entry.demand = Demand(entry, priority, self._number)
            demand.tickets[ticket] = None
            self._enqueue(demand)
        else:
            place = demand.order()
            if demand.background and not ticket.background:
                self._number += 1
                demand.number = self._number
            demand.priority = max(demand.priority, priority)
            _place(demand, ticket)
            if demand.order() != place and demand in self.queue:
                self.queue.remove(demand)
                self._enqueue(demand)
        if ticket.parent is not None:
            demand.nested[ticket] = None
            self._nested += 1
        self._refresh(entry)

    def _enqueue(self, demand: Demand, *, again: bool = False) -> None:
        at = bisect.bisect(self.queue, demand.order(), key=Demand.order)
        self.queue.insert(at, demand)
        if again:
            return
        for other in self.queue[at + 1 :]:
            other.overtaken += 1
            if other.overtaken >= PATIENCE and not math.isinf(other.priority):
                other.priority = math.inf
        self.queue.sort(key=Demand.order)

    def _dequeue(self, ticket: Ticket, demand: Demand, *, keep: bool = False) -> None:
        demand.tickets.pop(ticket, None)
        if ticket in demand.nested:
            del demand.nested[ticket]
            self._nested -= 1
        ticket.waiting = False
        self.waiting -= 1
        if not demand.tickets and not keep and demand.entry.phase is not Phase.Loading:
            self._drop(demand)
            self._refresh(demand.entry)

    def _drop(self, demand: Demand) -> None:
        if demand in self.queue:
            self.queue.remove(demand)
        if demand.entry.demand is demand:
            demand.entry.demand = None
            demand.entry.extra = {}

    def _refuse(self, demand: Demand, error: BaseException) -> None:
        for ticket in tuple(demand.tickets):
            self._dequeue(ticket, demand, keep=True)
            self._settle_with(ticket, error)
        self._drop(demand)
        self._refresh(demand.entry)

    def _settle_with(self, ticket: Ticket, error: BaseException) -> None:
        self._tell(EventKind.Refused, ticket.entry.id, detail=str(error))
        self._actions.append(Settle(ticket, error))

    def _finish_unloaders(self, entry: Entry, error: BaseException | None = None) -> None:
        for ticket in entry.unloaders:
            self._actions.append(Settle(ticket, error))
        entry.unloaders = []

    def _claim(self, demand: Demand, entries: Iterable[Entry]) -> None:
        for entry in entries:
            demand.awaits.add(entry)
            if entry.claimed_by is None and entry is not demand.entry:
                entry.claimed_by = demand
                demand.claims.add(entry)
                self._claimed.append(entry)
                self._refresh(entry)

    def _refresh(self, entry: Entry) -> None:
        entry.open = (
            entry.phase is Phase.Ready
            and entry.claimed_by is None
            and entry.demand is None
            and not entry.retiring
            and not (entry.footprint is not None and entry.footprint.per_request)
        )

    def _charge(self, entry: Entry, charges: Amounts) -> None:
        self.ledger.change(entry.charges, charges)
        entry.charges = dict(charges)
        if entry.pinned or entry.broken:
            self._limits += 1

    # Words

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
                reason=self.what_about(entry),
            )
        need = _first_need(entry)
        before = [demand for demand in self.queue if demand.entry is not entry]
        room = self._room()
        for demand in before:
            _add(room, demand.gain)
            _add(room, demand.need, -1)
        chosen = choose(Snapshot(now, room, self._may_go(entry)), need, self.policy)
        lacking = self._never(entry, need, set())
        busy = tuple(holding.id for holding in chosen or () if holding.busy)
        if lacking:
            reason = str(self._no_room(entry, need, lacking))
        elif chosen is None:
            reason = f"it waits for {len(before)} others; {self.who_holds(need)}"
        elif busy:
            reason = f"it waits until {', '.join(map(repr, busy))} have ended their requests"
        elif chosen:
            reason = f"{', '.join(repr(holding.id) for holding in chosen)} would go for it"
        else:
            reason = f"there is room for its {write_amounts(need)}"
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
            return "it is loaded"
        demand = entry.demand
        if demand is None:
            return "nobody waits for it"
        before = sum(1 for other in self.queue if other.order() < demand.order())
        return f"it waits for room, behind {before} others"

    def who_holds(self, pools: Mapping[str, int]) -> str:
        """Say who holds what of some pools, and why it can't go."""
        parts = []
        for entry in self._resident:
            held = {pool: size for pool, size in entry.held.items() if pool in pools and size}
            if held:
                why = "pinned" if entry.pinned else _doing(entry)
                parts.append(f"{entry.id!r} holds {write_amounts(held)} ({why})")
        for id, kept in self.ledger.quarantine.items():  # noqa: A001
            held = {pool: size for pool, size in kept.items() if pool in pools}
            if held:
                parts.append(f"{write_amounts(held)} did not come back from {id!r}")
        foreign = {p: s for p, s in self.ledger.foreign.items() if p in pools and s}
        if foreign:
            parts.append(f"other programs took {write_amounts(foreign)}")
        return "; ".join(parts) or "nobody holds anything"

    def _no_room(self, entry: Entry, need: Amounts, lacking: Amounts) -> BudgetError:
        budget = {pool: self.ledger.budgets[pool] for pool in need}
        if any(size > budget[pool] for pool, size in need.items()):
            return BudgetError(
                f"{entry.id!r} needs {write_amounts(need)}, and the whole budget is "
                f"{write_amounts(budget)}: give the pool more, or take a smaller model"
            )
        return BudgetError(
            f"{entry.id!r} needs {write_amounts(need)}, of which {write_amounts(lacking or need)} "
            f"can't be had: {self.who_holds(need)}"
        )

    def _would_wait_for_itself(self, entry: Entry, need: Amounts, held: set[str]) -> BudgetError:
        return BudgetError(
            f"{entry.id!r} needs {write_amounts(need)}, and would wait for itself: the task that "
            f"asks has a lease on {', '.join(map(repr, sorted(held)))}, or others wait for that; "
            f"end it first, or give the pool room for both ({self.who_holds(need)})"
        )

    def check(self, footprint: Footprint, id: str) -> None:  # noqa: A002
        """Refuse a footprint that no state of the pools could ever hold."""
        for amounts in (footprint.loading, footprint.per_request):
            check_pools(amounts, self.ledger.budgets, repr(id))


def _first_need(entry: Entry) -> dict[str, int]:
    """Give what must be free for a load and the first request after it."""
    footprint = entry.footprint
    assert footprint is not None
    if not entry.extra:
        return footprint.starting
    return largest(footprint.starting, total(footprint.loading, entry.extra))


def _passed_by(locked: set[Entry], earlier: list[Demand]) -> set[Demand]:
    """Find the demands that a later one goes before; add what those hold who wait for it.

    Who holds a model that others wait for has their place: before it ends, they can't begin. So it
    passes the first who waits for it, directly or by way of others, and all behind that one.
    """
    if not locked:
        return set()
    stuck: set[Demand] = set()
    grown = True
    while grown:
        grown = False
        for other in earlier:
            if other not in stuck and not other.awaits.isdisjoint(locked):
                stuck.add(other)
                locked |= _held_for(other)
                grown = True
    first = next((at for at, other in enumerate(earlier) if other in stuck), len(earlier))
    return set(earlier[first:])


def _held_for(demand: Demand) -> set[Entry]:
    """Give what those hold already who wait for a demand."""
    return {held.entry for ticket in demand.nested for held in ticket.held_before()}


def _place(demand: Demand, ticket: Ticket) -> None:
    """Put a request before those of a lower priority, unless they were passed often enough."""
    last = next(reversed(demand.tickets), None)
    if last is None or last.priority >= ticket.priority or last.passed >= PATIENCE:
        demand.tickets[ticket] = None
        return
    before = list(demand.tickets)
    at = len(before)
    while at and before[at - 1].priority < ticket.priority and before[at - 1].passed < PATIENCE:
        at -= 1
        before[at].passed += 1
    before.insert(at, ticket)
    demand.tickets = dict.fromkeys(before)


def _add(room: dict[str, int], amounts: Amounts, sign: int = 1) -> None:
    for pool, size in amounts.items():
        room[pool] += sign * size


def _add_known(sums: dict[str, int], amounts: Amounts) -> None:
    for pool, size in amounts.items():
        if pool in sums:
            sums[pool] += size


def _used_at(entry: Entry) -> float:
    return entry.used_at


def _doing(entry: Entry) -> str:
    if entry.leases:
        return f"in use by {len(entry.leases)}"
    return {Phase.Ready: "idle", Phase.Loading: "loading"}.get(entry.phase, "unloading")
