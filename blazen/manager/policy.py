"""Which models go when another needs room: a pure function of what there is.

Nothing here looks at a clock, a lock or a model. `choose` gives the same answer for the same
snapshot, to the manager, to its dry run and to the simulator.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from blazen.types.footprint import Amounts

log = logging.getLogger("blazen.manager")


class Holding(NamedTuple):
    """A loaded model that may go, as it stands at one moment."""

    id: str
    charges: Amounts
    """What comes back when it goes."""
    busy: bool
    """Whether it is in use: it goes when its last request has ended."""
    priority: int
    used_at: float
    """When it was last asked for, on the manager's clock."""
    loaded_at: float
    uses: int
    """How often it was asked for since it was loaded."""
    load_seconds: float
    """How long its last load took."""
    reloads: int
    """How often, of late, it had to come back soon after it was made to go."""


@dataclass(frozen=True)
class Snapshot:
    """What there is at one moment."""

    now: float
    room: Mapping[str, int]
    """Bytes free in each pool; less than none where others are waiting for them."""
    holdings: Sequence[Holding]
    """Every model that may go, the least recently used first."""


Policy: TypeAlias = Callable[[Snapshot, Amounts], Iterable[Holding]]
"""Gives a snapshot's holdings in the order in which they should go to make room for a need.

One that it leaves out goes last: what must not go is pinned. It is asked under the manager's lock,
and so must not call the manager.
"""


def least_recently_used(snapshot: Snapshot, need: Amounts) -> Iterable[Holding]:
    """Let go first what was longest without a request."""
    return snapshot.holdings


@dataclass(frozen=True)
class ReloadCost:
    """Let go first what is cheapest to bring back, for the memory that it frees.

    A model's worth is the seconds that its next load will take, times how often it is asked for,
    for each byte that it holds of what is needed. One that keeps coming back soon after it went is
    worth more each time, which ends the thrashing of a few models that just do not fit together.
    """

    half_life: float = 300.0
    """Seconds without a request after which a model counts half."""

    def __call__(self, snapshot: Snapshot, need: Amounts) -> Iterable[Holding]:
        """Order the holdings, the least worth first."""

        now, pools, half_life = snapshot.now, tuple(need), self.half_life

        def worth(holding: Holding) -> float:
            # All in few steps: it is asked for every model at every decision.
            _, charges, _, _, used_at, loaded_at, uses, load_seconds, reloads = holding
            freed = 0
            for pool in pools:
                freed += charges.get(pool, 0)
            halvings = max(0.0, now - used_at) / half_life - min(reloads, 16)
            value = max(load_seconds, 1e-3) * max(1, uses) * math.pow(2.0, -halvings)
            return value / (max(1.0, now - loaded_at) * max(1, freed))

        return sorted(snapshot.holdings, key=worth)


def choose(snapshot: Snapshot, need: Amounts, policy: Policy) -> tuple[Holding, ...] | None:
    """Choose what must go so that there is room for a need; ``None`` where all would not do.

    Models in use and models of a higher priority come after all others, whatever the policy says.
    Nothing is chosen that could stay.
    """
    lacking = {
        pool: size - snapshot.room.get(pool, 0)
        for pool, size in need.items()
        if size > snapshot.room.get(pool, 0)
    }
    if not lacking:
        return ()
    chosen: list[Holding] = []
    left = dict(lacking)
    for holding in sorted(_ordered(snapshot, lacking, policy), key=_reluctance):
        freed = [pool for pool in left if pool in holding.charges]
        if not freed:
            continue
        chosen.append(holding)
        for pool in freed:
            left[pool] -= holding.charges[pool]
            if left[pool] <= 0:
                del left[pool]
        if not left:
            return _without_spare(chosen, lacking)
    return None


def _ordered(snapshot: Snapshot, need: Amounts, policy: Policy) -> Sequence[Holding]:
    """Ask a policy, and put right what it gives: each holding once, the forgotten ones last.

    A policy may be anybody's code, and a request that waits must not end with its mistake.
    """
    try:
        order = list(policy(snapshot, need))
        given = {holding[0]: holding for holding in order}
    except Exception:  # the one that is there does instead
        log.exception("the policy %r failed: the least recently used go first", policy)
        return snapshot.holdings
    known = {holding[0]: holding for holding in snapshot.holdings}
    if len(order) == len(given) and given.keys() == known.keys():
        return order
    return list({name: known[name] for name in (*given, *known) if name in known}.values())


def _reluctance(holding: Holding) -> tuple[bool, int]:
    return holding[2], holding[3]  # by number: it is asked for every model at every decision


def _without_spare(chosen: list[Holding], lacking: Amounts) -> tuple[Holding, ...]:
    """Leave out what later choices have made unnecessary, the worthiest first."""
    spare = {
        pool: sum(holding.charges.get(pool, 0) for holding in chosen) - size
        for pool, size in lacking.items()
    }
    kept = list(chosen)
    for holding in reversed(chosen):
        charges = {pool: holding.charges.get(pool, 0) for pool in spare}
        if all(charges[pool] <= spare[pool] for pool in spare):
            kept.remove(holding)
            for pool, size in charges.items():
                spare[pool] -= size
    return tuple(kept)
