"""What a worker process takes of each memory pool, and which GPU of this process is which there."""

from __future__ import annotations

from collections.abc import Sequence

from blazen.hardware import Device
from blazen.types.footprint import Amounts, Footprint, total

INTERPRETER_BYTES = 60 << 20
"""What a process takes of RAM beside its engine."""
_CONTEXT_BYTES = 730 << 20
"""What the driver takes of a GPU for each process that works on it."""


def with_process(model: Footprint, gpus: Sequence[int] | None) -> Footprint:
    """Give what a model takes together with its process, in the pools of this side."""
    resident, peak = outer_pools(model.resident, gpus), outer_pools(model.load_peak, gpus)
    own = {"cpu": INTERPRETER_BYTES}
    own.update({pool: _CONTEXT_BYTES for pool in resident if pool != "cpu"})
    return Footprint(
        resident=total(resident, own),
        load_peak=total(peak, {pool: own[pool] for pool in peak if pool in own}),
        per_request=outer_pools(model.per_request, gpus),
    )


def outer_pools(amounts: Amounts, gpus: Sequence[int] | None) -> dict[str, int]:
    """Give in the pools of this side what a process takes that sees some of the GPUs only."""
    return total(*({_outer_pool(pool, gpus): size} for pool, size in amounts.items()))


def outer_device(device: str, gpus: Sequence[int] | None) -> str:
    """Give the device that this side knows by another number."""
    if gpus is None:
        return device
    there = Device.parse(device)
    if not gpus and there == Device.Auto:
        return str(Device.Cpu)
    if not gpus or there.kind != "cuda":
        return device
    return str(Device("cuda", _outer_number(there.index or 0, gpus)))


def _outer_pool(pool: str, gpus: Sequence[int] | None) -> str:
    if pool == "cpu" or gpus is None:
        return pool
    return f"gpu:{_outer_number(int(pool.partition(':')[2]), gpus)}" if gpus else "cpu"


def _outer_number(number: int, gpus: Sequence[int]) -> int:
    # This side sees more of them, and may have named one that the process will not find.
    return gpus[min(number, len(gpus) - 1)]
