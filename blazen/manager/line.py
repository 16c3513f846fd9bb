"""The queue: one place for each model that someone waits for."""

from __future__ import annotations

import bisect
import math

from blazen.manager.book import Book
from blazen.manager.entries import (
    Demand,
    Entry,
    Phase,
    Settle,
    Ticket,
)
from blazen.manager.events import EventKind

PATIENCE = 16
"""How many demands of a higher priority may pass one that waits, before it goes first."""


class Line(Book):
    """Those who wait, in the order in which they are looked at."""

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

    def _serve(self, ticket: Ticket, demand: Demand, now: float) -> None:
        self._dequeue(ticket, demand, keep=True)
        ticket.entry.victims = []  # they went for good
        self._nobody = False
        if ticket.keeps:
            self._grant(ticket, now)
        self._actions.append(Settle(ticket, None))

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
