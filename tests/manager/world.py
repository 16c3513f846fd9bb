"""The scheduler without models: what it asks for is done by hand, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen.manager.entries import (
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
from blazen.manager.scheduler import Scheduler
from blazen.types.footprint import Amounts, Footprint


class World:
    """Drives a scheduler, and holds it to its promises after every step."""

    def __init__(self, budgets: Mapping[str, int] | None = None, **settings: Any) -> None:
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.scheduler = Scheduler(budgets or {"cpu": 10}, tell=self._tell, **settings)
        self.now = 0.0
        self.loading: list[Entry] = []
        self.unloading: list[Entry] = []
        self.stopped: set[Entry] = set()
        self.outcomes: dict[Ticket, BaseException | None] = {}
        self.order: list[Ticket] = []
        """Tickets in the order in which they had their model."""
        self.shares: dict[str, int] = {}
        self.wakes: list[float] = []
        self.asked: list[Ticket] = []
        self.cancelled: set[Ticket] = set()
        self.lied = False
        """Whether a model was measured to hold more than it was down for."""

    def _tell(self, kind: Any, name: str, **facts: Any) -> None:
        self.told.append((kind.value, name, facts))

    def events(self, kind: str) -> list[str]:
        return [name for told, name, _ in self.told if told == kind]

    def add(
        self, name: str, footprint: Any = None, *, loaded: bool = False, **settings: Any
    ) -> Entry:
        if isinstance(footprint, int):
            footprint = {"cpu": footprint}
        if isinstance(footprint, Mapping):
            footprint = Footprint(dict(footprint))
        entry = Entry(name, object(), footprint, **settings)
        if loaded:
            self.scheduler.add_loaded(entry, self.now)
        else:
            self.scheduler.add(entry)
        self._do()
        return entry

    def ask(self, entry: Entry, parent: Ticket | None = None, **settings: Any) -> Ticket:
        """Ask for a model as a request does: at once where that is possible, else in the queue."""
        ticket = Ticket(entry, parent=parent, **settings)
        self.asked.append(ticket)
        if self.scheduler.acquire(ticket, self.now):
            self.outcomes[ticket] = None
            self.order.append(ticket)
        else:
            self.scheduler.wait(ticket, self.now)
        self._do()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        self.cancelled.add(ticket)
        self.scheduler.cancel(ticket, self.now)
        self._do()

    def release(self, ticket: Ticket) -> None:
        self.scheduler.release(ticket, self.now)
        self._do()

    def adjust(self, entry: Entry, **changes: Any) -> None:
        held = {n: getattr(entry, n) for n in ("pinned", "keep_alive", "priority")}
        self.scheduler.adjust(entry, self.now, **{**held, **changes})
        self._do()

    def unload(self, entry: Entry) -> Ticket:
        ticket = Ticket(entry)
        self.scheduler.unload(ticket, self.now)
        self._do()
        return ticket

    def loaded(self, entry: Entry, charges: Amounts | None = None) -> None:
        assert entry.footprint is not None
        self.loading.remove(entry)
        self.stopped.discard(entry)
        self.scheduler.loaded(entry, charges or entry.footprint.resident, 1.0, self.now)
        self._do()

    def failed(self, entry: Entry, *, out_of_memory: bool = False) -> None:
        self.loading.remove(entry)
        stopped = entry in self.stopped
        self.stopped.discard(entry)
        error = None if stopped else RuntimeError("it broke")
        self.scheduler.load_failed(entry, error, self.now, out_of_memory=out_of_memory)
        self._do()

    def gone(
        self,
        entry: Entry,
        kept: Amounts | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.unloading.remove(entry)
        self.scheduler.unloaded(entry, kept or {}, self.now, error)
        self._do()

    def still_there(self, entry: Entry) -> None:
        self.unloading.remove(entry)
        self.scheduler.still_there(entry, RuntimeError("it won't go"), self.now)
        self._do()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.scheduler.pump(self.now)
        self._do()

    def settle(self) -> None:
        """Have every load and unload end well, until there are none."""
        for _ in range(1000):
            if self.unloading:
                self.gone(self.unloading[0])
            elif self.loading:
                entry = self.loading[0]
                (self.failed if entry in self.stopped else self.loaded)(entry)
            else:
                return
        raise AssertionError("models come and go for ever")

    def _do(self) -> None:
        for action in self.scheduler.take_actions():
            if isinstance(action, Load):
                assert action.entry not in self.loading, "two loads of one model at once"
                assert action.entry not in self.unloading
                self.loading.append(action.entry)
            elif isinstance(action, StopLoading):
                assert action.entry in self.loading
                self.stopped.add(action.entry)
            elif isinstance(action, Unload):
                assert action.entry not in self.unloading, "two unloads of one model at once"
                assert action.entry not in self.loading
                assert not action.entry.leases, "a model in use is made to go"
                self.unloading.append(action.entry)
            elif isinstance(action, Settle):
                assert action.ticket not in self.outcomes, "an answer twice"
                self.outcomes[action.ticket] = action.error
                if action.error is None and action.ticket.granted:
                    self.order.append(action.ticket)
            elif isinstance(action, Share):
                self.shares[action.entry.id] = action.threads
            else:
                assert isinstance(action, Wake)
                assert action.at > self.now
                self.wakes.append(action.at)
        self.check()

    def check(self) -> None:
        """Hold the scheduler to what must be true between any two steps."""
        scheduler, ledger = self.scheduler, self.scheduler.ledger
        charged = dict.fromkeys(ledger.budgets, 0)
        for entry in scheduler.entries.values():
            for pool, size in entry.held.items():
                assert size >= 0
                charged[pool] += size
            part = entry.footprint.per_request if entry.footprint is not None else {}
            for pool, size in part.items():
                assert entry.per_request.get(pool, 0) == size * len(entry.leases)
            assert (entry in self.loading) == (entry.phase is Phase.Loading)
            assert (entry in self.unloading) == (entry.phase is Phase.Unloading)
            assert not entry.leases or entry.phase is Phase.Ready
            assert all(ticket.granted and ticket.entry is entry for ticket in entry.leases)
            demand = entry.demand
            if demand is not None:
                assert (demand in scheduler.queue) == (entry.phase is not Phase.Loading)
            if entry.open:
                assert entry.phase is Phase.Ready
                assert demand is None
        assert charged == ledger.used, "the account is not the sum of what is held"
        if not self.lied:
            for pool, budget in ledger.budgets.items():
                assert ledger.used[pool] + ledger.quarantined[pool] <= budget, "over the budget"
        demands = [entry.demand for entry in scheduler.entries.values() if entry.demand is not None]
        waiting = {ticket for demand in demands for ticket in demand.tickets}
        assert len(waiting) == scheduler.waiting
        assert all(ticket.waiting and not ticket.granted for ticket in waiting)
        assert scheduler.queue == sorted(scheduler.queue, key=lambda demand: demand.order())
        for ticket in self.asked:
            assert ticket.waiting == (ticket in waiting)
            assert ticket.waiting or ticket in self.outcomes or ticket in self.cancelled
        running = {entry for entry in scheduler.entries.values() if entry.running}
        fixed = sum(
            min(entry.threads, scheduler.cores) if entry.fixed_threads else 1 for entry in running
        )
        assert scheduler.cores_used == fixed
