"""Who holds what, who waits for what, and what is to be done next.

A machine of states without a clock, a lock, a task or a model of its own. Whoever drives it, the
manager with real models or the simulator with a virtual clock, calls one method at a time and
then does what `take_actions` gives, in order.

A request that can't begin waits in the queue, one place for each model. A look at the queue
(`pump`) goes through it in order: each takes its share of what is free, or names the models
that must go for it. What one waits for, none behind it can have. Nothing of this is kept from one
look to the next, so that a state which changed in between can't mislead it.

It is built of layers, each on the one before: `book` (what is held), `line` (the queue), `ties`
(who waits for whom), `look` (the look at the queue), and here what drives it all.
"""

from __future__ import annotations

from collections.abc import Mapping

from blazen.errors import BudgetError, ValidationError
from blazen.manager.entries import (
    Entry,
    Phase,
    Settle,
    StopLoading,
    Ticket,
)
from blazen.manager.events import EventKind
from blazen.manager.look import Look
from blazen.manager.policy import Snapshot, choose
from blazen.manager.pools import check_pools, write_amounts
from blazen.types.footprint import Amounts, Footprint, total

THRASH_SECONDS = 60.0
"""A model that has to come back this soon after it went should not have gone."""

THRASH_RELOADS = 3

_TOLD_AT = frozenset(THRASH_RELOADS * 2**power for power in range(30))


class Scheduler(Look):
    """Decides; does nothing. Its methods take the time, on whatever clock."""

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

    def remove(self, entry: Entry, now: float) -> bool:
        """Forget a model, unless it is in memory; who waits for it is turned away."""
        self.turn_away(entry, now)
        if not entry.remote and (entry.phase is not Phase.Unloaded or entry.demand is not None):
            return False
        if self.entries.get(entry.id) is entry:  # not another one that has its name by now
            del self.entries[entry.id]
        return True

    def adjust(
        self, entry: Entry, now: float, *, pinned: bool, keep_alive: float | None, priority: int
    ) -> None:
        """Change what holds a model in memory; who waits already is looked at anew."""
        before = entry.pinned, entry.keep_alive, entry.priority
        if before == (pinned, keep_alive, priority):
            return
        entry.pinned, entry.keep_alive, entry.priority = pinned, keep_alive, priority
        self._limits += 1
        stays = "for ever" if keep_alive is None else f"{keep_alive:g} s"
        words = f"{'pinned' if pinned else 'not pinned'}, stays {stays}, priority {priority}"
        self._tell(EventKind.Adjusted, entry.id, detail=words)
        self.pump(now)

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
            if not entry.leases and not self._take_off(entry, now):
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

    def turn_away(self, entry: Entry, now: float) -> None:
        """Refuse all who wait for a model that is being unregistered."""
        if entry.demand is not None and entry.phase is not Phase.Loading:
            words = f"{entry.id!r} was unregistered while requests waited for it"
            self._refuse(entry.demand, ValidationError(words))
            self._bring_back(entry, now)
            self.pump(now)

    def loaded(self, entry: Entry, charges: Amounts, seconds: float, now: float) -> None:
        """Hear that a model is loaded, and what it holds."""
        assert entry.phase is Phase.Loading
        entry.phase = Phase.Ready
        entry.loads += 1
        entry.load_seconds = seconds
        entry.loaded_at = entry.used_at = now
        entry.uses = 0
        entry.problem = entry.problem if entry.lost else ""
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
                # The first may run beside others: made to wait for cores, it could be made to go.
                if not (ticket.keeps and (entry.leases or self.ledger.lacking(part))):
                    self._serve(ticket, demand, now)
            if demand.tickets:
                self._enqueue(demand, again=True)
            else:
                entry.demand = None
        else:
            entry.demand = None
        if not entry.leases and not self._take_off(entry, now):
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

    def lost(self, entry: Entry, why: str, now: float) -> None:
        """Hear that a model's process is gone, and its memory back.

        Whoever holds it keeps its room, for what is asked of it next loads it again.
        """
        if entry.phase in (Phase.Ready, Phase.Loading):
            entry.lost, entry.problem = True, why
            self._tell(EventKind.Crashed, entry.id, detail=why)
            if self._take_off(entry, now):
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
        # While a model loads nobody can say how much of what is gone it has taken.
        loading = {p for e in self._resident if e.phase is Phase.Loading for p in e.charges}
        self.ledger.observe({p: size for p, size in available.items() if p not in loading})
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

    def _take_off(self, entry: Entry, now: float) -> bool:
        """Have a model that is lost be unloaded, unless it is held, or is there again."""
        if not entry.lost or entry.leases or entry.phase is not Phase.Ready:
            return False
        entry.lost = not entry.model.is_loaded
        if not entry.lost:
            return False
        self._gone(entry)
        self._tell(EventKind.Unloaded, entry.id)
        self._finish_unloaders(entry)
        self._refresh(entry)
        return True

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

    def _note_return(self, entry: Entry, now: float) -> None:
        if entry.evicted_at is None:
            return
        soon = now - entry.evicted_at < THRASH_SECONDS
        entry.reloads = entry.reloads + 1 if soon else 0
        entry.evicted_at = None
        if entry.reloads in _TOLD_AT:
            self._tell(
                EventKind.Thrashing,
                entry.id,
                detail=f"it came back {entry.reloads} times within {THRASH_SECONDS:.0f} s of going",
            )

    def check(self, footprint: Footprint, id: str) -> None:  # noqa: A002
        """Refuse a footprint that no state of the pools could ever hold."""
        for amounts in (footprint.loading, footprint.per_request):
            check_pools(amounts, self.ledger.budgets, repr(id))
