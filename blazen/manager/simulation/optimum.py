"""How few loads would have done, for one who knows every request beforehand.

The order in which the models are had is given; the choice is which of them goes when another
needs its room. With models of one size, Belady's rule, to let go what is needed again last, is
the best there is, and the answer is exact. With different sizes the best choice is too hard to
compute (the problem is NP-hard), so that it is put between two numbers: what no choice can do
with less, and what the rule comes to.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from blazen.types.footprint import Amounts, Footprint, largest, total
from blazen.types.record import Record


@dataclass(frozen=True)
class Optimum(Record):
    """The fewest loads for models that are had in a given order, whatever goes for them."""

    loads_at_least: int
    """No choice does with fewer."""
    loads_at_most: int
    """One that knows the order does with so many, letting go what is needed again last."""
    bytes_at_least: int
    """No choice moves fewer bytes into memory, even if a part of a model could stay."""

    @property
    def is_exact(self) -> bool:
        """Whether the two are the same, as they are with models of one size."""
        return self.loads_at_least == self.loads_at_most


def find_optimum(
    order: Sequence[str],
    footprints: Mapping[str, Footprint],
    budgets: Mapping[str, int],
    pinned: AbstractSet[str] = frozenset(),
) -> Optimum:
    """Find the fewest loads for models that are had in this order, one after the other.

    Each of them must fit into the budgets by itself.
    """
    least, moved = len(set(order)), 0
    for pool, budget in budgets.items():
        sizes = {id: f.resident.get(pool, 0) for id, f in footprints.items()}  # noqa: A001
        within = [id for id in order if sizes[id]]  # noqa: A001
        following = _following(within)
        others = len(set(order)) - len(set(within))
        fewest = max(
            _loads_by_number(within, following, _beside(set(within), sizes, budget)),
            _loads_by_area(within, following, sizes, budget),
        )
        least = max(least, others + fewest)
        moved += _bytes_by_parts(within, following, sizes, budget)
    following = _following(order)
    most = min(
        _loads_of_rule(order, following, footprints, budgets, pinned, by_size=by_size)
        for by_size in (False, True)
    )
    return Optimum(least, most, moved)


def _following(order: Sequence[str]) -> list[int]:
    """Give, for each place, the next one of the same model; the length where there is none."""
    seen: dict[str, int] = {}
    out = [len(order)] * len(order)
    for place in range(len(order) - 1, -1, -1):
        out[place] = seen.get(order[place], len(order))
        seen[order[place]] = place
    return out


class _Furthest:
    """Finds what is needed again last."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._next: dict[str, int] = {}

    def had(self, id: str, following: int) -> None:  # noqa: A002
        self._next[id] = following
        heapq.heappush(self._heap, (-following, id))

    def gone(self, id: str) -> None:  # noqa: A002
        del self._next[id]

    def __call__(self) -> str:
        # What was had again since lies further down once more.
        while self._next.get(self._heap[0][1]) != -self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][1]


def _beside(ids: AbstractSet[str], sizes: Mapping[str, int], budget: int) -> dict[str, int]:
    """Give how many others there can be beside each model, at best: the smallest ones."""
    sums = list(itertools.accumulate(sorted(sizes[id] for id in ids)))  # noqa: A001
    return {id: bisect.bisect(sums, budget - sizes[id]) for id in ids}  # noqa: A001


def _loads_by_number(
    order: Sequence[str], following: Sequence[int], beside: Mapping[str, int]
) -> int:
    """Count the loads of Belady's rule if only the number of models beside each were limited."""
    furthest, there, loads = _Furthest(), set[str](), 0
    for place, id in enumerate(order):  # noqa: A001
        if id in there:
            there.discard(id)
            furthest.gone(id)
        else:
            loads += 1
        while len(there) > beside[id]:
            victim = furthest()
            furthest.gone(victim)
            there.discard(victim)
        there.add(id)
        furthest.had(id, following[place])
    return loads


def _loads_by_area(
    order: Sequence[str], following: Sequence[int], sizes: Mapping[str, int], budget: int
) -> int:
    """Count the loads if only the sum over the whole time were limited, of all that is kept.

    A model that stays from one request to its next takes its size at every request between, and
    all that stay may take, at each, what its model leaves. Those that take least are kept first.
    """
    area = sum(budget - sizes[id] for id in order)  # noqa: A001
    kept = 0
    stays = (
        sizes[id] * (following[place] - place - 1)
        for place, id in enumerate(order)  # noqa: A001
        if following[place] < len(order)
    )
    for size in sorted(stays):
        area -= size
        if area < 0:
            break
        kept += 1
    return len(order) - kept


def _bytes_by_parts(
    order: Sequence[str], following: Sequence[int], sizes: Mapping[str, int], budget: int
) -> int:
    """Count the bytes that Belady's rule moves if a part of a model could go, and the rest stay.

    Bytes are of one size, so that the rule is the best for them.
    """
    furthest, there, free, moved = _Furthest(), dict[str, int](), budget, 0
    for place, id in enumerate(order):  # noqa: A001
        lacking = sizes[id] - there.pop(id, 0)
        moved += lacking
        if lacking < sizes[id]:
            furthest.gone(id)
        while free < lacking:
            victim = furthest()
            part = min(there[victim], lacking - free)
            free += part
            there[victim] -= part
            if not there[victim]:
                del there[victim]
                furthest.gone(victim)
        free -= lacking
        there[id] = sizes[id]
        furthest.had(id, following[place])
    return moved


def _loads_of_rule(
    order: Sequence[str],
    following: Sequence[int],
    footprints: Mapping[str, Footprint],
    budgets: Mapping[str, int],
    pinned: AbstractSet[str],
    *,
    by_size: bool,
) -> int:
    """Count the loads if always what is needed again last goes; what is pinned after all else.

    ``by_size``, a large model goes before a small one that is needed again as late.
    """
    until: dict[str, int] = {}
    free, loads = dict(budgets), 0

    def make_room(need: Amounts, place: int) -> None:
        def merit(id: str) -> tuple[bool, int, str]:  # noqa: A002
            ahead = until[id] - place
            if by_size:
                ahead *= sum(footprints[id].resident.get(pool, 0) for pool in lacking)
            return id not in pinned, ahead, id

        while lacking := {pool for pool, size in need.items() if free[pool] < size}:
            helps = (i for i in until if not lacking.isdisjoint(footprints[i].resident))
            victim = max(helps, key=merit)
            del until[victim]
            for pool, size in footprints[victim].resident.items():
                free[pool] += size

    for place, id in enumerate(order):  # noqa: A001
        footprint = footprints[id]
        if until.pop(id, None) is None:
            loads += 1
            make_room(_first_need(footprint), place)
            for pool, size in footprint.resident.items():
                free[pool] -= size
        else:
            # It stays itself, and others go if its request needs more.
            make_room(footprint.per_request, place)
        until[id] = following[place]
    return loads


def _first_need(footprint: Footprint) -> dict[str, int]:
    """Give what must be free for a load and the first request after it."""
    return largest(footprint.loading, total(footprint.resident, footprint.per_request))
