"""How to make a pipeline fit into the memory that it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.errors import BudgetError

if TYPE_CHECKING:
    from blazen.options.diffusers import DiffusersOptions

_LAYER_SHARE = 16
"""Sequential offload holds one layer: taken as so small a share of the largest part."""
TILE_SIDE = 512
"""Pixels along each side of a tile."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of a pipeline: the weights of each part, and the sums of its two heavy stages."""

    parts: dict[str, int]
    fixed: int = 0
    """What the device's libraries take as soon as anything is calculated."""
    denoise: int = 0
    scores: int = 0
    """What attention takes beside, where the device holds all its scores at once."""
    sliced: int = 0
    """What it takes beside in slices. Where torch never holds the scores, that is more."""
    decode: int = 0
    decode_tiled: int = 0

    @property
    def weights(self) -> int:
        """All parts together."""
        return sum(self.parts.values())

    @property
    def largest(self) -> int:
        """The largest part."""
        return max(self.parts.values(), default=0)


@dataclass(frozen=True)
class Plan:
    """What is done to save memory."""

    offload: str = "none"
    slicing: bool = False
    tiling: bool = False

    def work(self, sizes: Sizes) -> int:
        """Say what the heavier stage takes beside the weights."""
        return max(self._denoise(sizes), self._decode(sizes))

    def resident(self, sizes: Sizes) -> int:
        """Say what stays on the device between requests."""
        return sizes.fixed + (sizes.weights if self.offload == "none" else 0)

    def peak(self, sizes: Sizes) -> int:
        """Say what a request takes of the device at the most, weights included."""
        if self.offload == "none":
            return self.resident(sizes) + self.work(sizes)
        share = _LAYER_SHARE if self.offload == "sequential" else 1
        largest, vae = sizes.largest // share, sizes.parts.get("vae", 0) // share
        work = max(largest + self._denoise(sizes), vae + self._decode(sizes))
        return sizes.fixed + work

    def _denoise(self, sizes: Sizes) -> int:
        return sizes.denoise + (sizes.sliced if self.slicing else sizes.scores)

    def _decode(self, sizes: Sizes) -> int:
        return sizes.decode_tiled if self.tiling else sizes.decode


_CHEAPEST_FIRST = (
    Plan(),
    Plan(tiling=True),
    Plan(slicing=True, tiling=True),
    Plan("model"),
    Plan("model", tiling=True),
    Plan("model", slicing=True, tiling=True),
    Plan("sequential", tiling=True),
    Plan("sequential", slicing=True, tiling=True),
)


def choose_plan(
    options: DiffusersOptions, sizes: Sizes, *, on_gpu: bool, free: int | None = None
) -> Plan:
    """Give the quickest plan that fits the budget, or else what is ``free``, as wished for.

    A budget that nothing fits is a `BudgetError`; where none was set, the smallest plan is tried.
    """
    plans = [
        plan
        for candidate in _CHEAPEST_FIRST
        if (plan := _as_wished(candidate, options, on_gpu=on_gpu)) is not None
    ]
    budget = options.budget_bytes
    room = budget if budget is not None else free
    if room is None:
        return plans[0]
    for plan in plans:
        if plan.peak(sizes) <= room:
            return plan
    least = min(plans, key=lambda plan: plan.peak(sizes))
    if budget is None:
        return least
    raise BudgetError(
        f"{options.model} takes {_amount(least.peak(sizes))} at the least as it is asked for, "
        f"libraries not counted, and memory_budget allows {_amount(budget)}: allow more, or leave "
        "offload to 'auto'" + ("" if on_gpu else "; on the CPU nothing can be offloaded")
    )


def _as_wished(plan: Plan, options: DiffusersOptions, *, on_gpu: bool) -> Plan | None:
    offload = plan.offload
    if not on_gpu and offload != "none":
        return None
    if on_gpu and options.offload not in ("auto", offload):
        return None
    slicing = plan.slicing if options.attention_slicing is None else options.attention_slicing
    tiling = plan.tiling if options.vae_tiling is None else options.vae_tiling
    return Plan(offload, slicing, tiling)


def _amount(size: int) -> str:
    if size < 2**20:
        return f"{size / 2**10:,.1f} KiB"
    return f"{size / 2**20:,.1f} MiB"
