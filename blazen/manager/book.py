"""What each model holds, who waits for it, and the small steps from one state to another.

Nothing here decides: the layers above, `line`, `look` and `scheduler`, do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blazen.errors import BudgetError
from blazen.manager.entries import (
    Demand,
    Entry,
    Load,
    Phase,
    Settle,
    Share,
    Ticket,
    Unload,
)
from blazen.manager.events import EventKind
from blazen.manager.policy import Policy, least_recently_used
from blazen.manager.pools import Ledger, write_amounts
from blazen.types.footprint import Amounts, total

Tell = Callable[..., None]


def _silent(*_: Any, **__: Any) -> None:
    """Tell nobody."""


class Book:
    """Entries, their accounts and their cores; every change of them goes through here."""

    def __init__(
        self,
        budgets: Mapping[str, int],
        *,
        policy: Policy = least_recently_used,
        cores: int = 0,
        max_waiting: int | None = None,
        budgets_from: str = "",
        tell: Tell = _silent,
    ) -> None:
        self.ledger = Ledger(budgets)
        self.budgets_from = budgets_from
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

    def take_actions(self) -> list[Any]:
        """Take what is to be done, in order."""
        actions, self._actions = self._actions, []
        return actions

    @property
    def has_actions(self) -> bool:
        """Whether there is something to be done."""
        return bool(self._actions)

    def _charge(self, entry: Entry, charges: Amounts) -> None:
        self.ledger.change(entry.charges, charges)
        entry.charges = dict(charges)
        if entry.pinned or entry.broken:
            self._limits += 1

    def _refresh(self, entry: Entry) -> None:
        entry.open = (
            entry.phase is Phase.Ready
            and entry.claimed_by is None
            and entry.demand is None
            and not entry.retiring
            and not (entry.footprint is not None and entry.footprint.per_request)
        )

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
        entry.retiring = entry.broken = entry.lost = False
        entry.idle_since = entry.window = None
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

    def _has_cores(self, entry: Entry) -> bool:
        if not entry.threads or not self.cores or not self.cores_used:
            return True
        return not self._cores_wanted and self.cores_used + self._cores_of(entry) <= self.cores

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

    def _settle_with(self, ticket: Ticket, error: BaseException) -> None:
        self._tell(EventKind.Refused, ticket.entry.id, detail=str(error))
        self._actions.append(Settle(ticket, error))

    def _finish_unloaders(self, entry: Entry, error: BaseException | None = None) -> None:
        for ticket in entry.unloaders:
            self._actions.append(Settle(ticket, error))
        entry.unloaders = []

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
            origin = f" ({self.budgets_from})" if self.budgets_from else ""
            return BudgetError(
                f"{entry.id!r} needs {write_amounts(need)}, and the whole budget is "
                f"{write_amounts(budget)}{origin}: give the pool more, or take a smaller model"
            )
        return BudgetError(
            f"{entry.id!r} needs {write_amounts(need)}, of which {write_amounts(lacking or need)} "
            f"can't be had: {self.who_holds(need)}"
        )

    def _would_wait_for_itself(self, entry: Entry, need: Amounts, held: set[str]) -> BudgetError:
        return BudgetError(
            f"{entry.id!r} needs {write_amounts(need)}, and would wait for itself: the task that "
            f"asks, or one that began it, has a lease on {', '.join(map(repr, sorted(held)))}, or "
            "others wait for that; end it first, or give the pool room for both "
            f"({self.who_holds(need)})"
        )


def _doing(entry: Entry) -> str:
    if entry.leases:
        return f"in use by {len(entry.leases)}"
    return {Phase.Ready: "idle", Phase.Loading: "loading"}.get(entry.phase, "unloading")
