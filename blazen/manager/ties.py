"""Who waits for whom, and what therefore can never be had."""

from __future__ import annotations

from blazen.manager.entries import (
    Demand,
    Entry,
    Phase,
)
from blazen.manager.line import Line
from blazen.types.footprint import Amounts, largest, total


class Ties(Line):
    """Finds out what can still be given back, and by whom."""

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
            locked = {held for other in waiting for held in held_for(other)}
            free = [o for o in waiting if o is not demand and self._can_be_met(o, locked, drains)]
            if not free:
                return locked
            waiting = [other for other in waiting if other not in free]

    def _can_be_met(self, demand: Demand, locked: set[Entry], drains: bool) -> bool:
        entry = demand.entry
        if entry.phase is not Phase.Ready:
            return not self._never(entry, first_need(entry), locked)
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
                add_known(stays, entry.charges)
                if entry in locked:
                    add_known(stays, entry.per_request)
            elif other.pinned or other.broken or other in locked:
                # What loads takes more now than it will.
                footprint = other.footprint if other.phase is Phase.Loading else None
                add_known(stays, other.held if footprint is None else footprint.resident)
        ledger = self.ledger
        out = {}
        for pool, size in need.items():
            most = ledger.budgets[pool] - ledger.quarantined[pool] - ledger.foreign[pool]
            if size > most - stays[pool]:
                out[pool] = size - (most - stays[pool])
        return out


def first_need(entry: Entry) -> dict[str, int]:
    """Give what must be free for a load and the first request after it."""
    footprint = entry.footprint
    assert footprint is not None
    if not entry.extra:
        return footprint.starting
    return largest(footprint.starting, total(footprint.loading, entry.extra))


def passed_by(locked: set[Entry], earlier: list[Demand]) -> set[Demand]:
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
                locked |= held_for(other)
                grown = True
    first = next((at for at, other in enumerate(earlier) if other in stuck), len(earlier))
    return set(earlier[first:])


def held_for(demand: Demand) -> set[Entry]:
    """Give what those hold already who wait for a demand."""
    return {held.entry for ticket in demand.nested for held in ticket.held_before()}


def add_known(sums: dict[str, int], amounts: Amounts) -> None:
    """Add to those pools that are asked about."""
    for pool, size in amounts.items():
        if pool in sums:
            sums[pool] += size
