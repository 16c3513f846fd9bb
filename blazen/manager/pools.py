"""The memory pools and the account of each: what is held, what did not come back, what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from blazen.checks import check_range, parse_bytes, unknown_name
from blazen.errors import ValidationError
from blazen.hardware import Hardware
from blazen.types.footprint import Amounts, check_pool

GIB = 1 << 30


def read_budgets(
    cpu_ram_gb: float | None,
    gpu_vram_gb: float | None,
    pools: Mapping[str, int | str] | None,
) -> dict[str, int]:
    """Give the bytes of each pool that a manager may fill."""
    if pools is not None and (cpu_ram_gb is not None or gpu_vram_gb is not None):
        raise ValidationError("give pools, or cpu_ram_gb and gpu_vram_gb, not both")
    if pools is None:
        budgets = {}
        for name, pool, size in (
            ("cpu_ram_gb", "cpu", cpu_ram_gb),
            ("gpu_vram_gb", "gpu:0", gpu_vram_gb),
        ):
            check_range(name, size, at_least=0)
            if size:
                budgets[pool] = round(size * GIB)
    else:
        budgets = {check_pool(pool): parse_bytes(f"pools[{pool!r}]", pools[pool]) for pool in pools}
    if not budgets:
        raise ValidationError(
            "a manager needs a budget: ModelManager(cpu_ram_gb=16), "
            "ModelManager(pools={'cpu': '16GiB', 'gpu:0': '20GiB'}) or ModelManager.detect()"
        )
    return budgets


def detect_budgets(
    machine: Hardware, reserve: Mapping[str, int | str] | int | str
) -> dict[str, int]:
    """Give what the machine has free now in each pool, less what is to be left alone."""
    every = machine.pools
    if isinstance(reserve, Mapping):
        kept = {check_pool(pool): _amount(reserve[pool]) for pool in reserve}
        for pool in kept:
            if pool not in every:
                raise ValidationError(unknown_name("pool on this machine", pool, list(every)))
    else:
        kept = dict.fromkeys(every, _amount(reserve))
    budgets = {pool: memory.available - kept.get(pool, 0) for pool, memory in every.items()}
    empty = {pool: size for pool, size in budgets.items() if size <= 0}
    if "cpu" in empty or len(empty) == len(budgets):
        raise ValidationError(
            f"nothing is left of {', '.join(empty)} with {reserve!r} in reserve, on this machine: "
            f"{machine.describe()}"
        )
    return {pool: size for pool, size in budgets.items() if size > 0}


def _amount(size: int | str) -> int:
    return 0 if size == 0 else parse_bytes("reserve", size)


class Ledger:
    """The account of every pool: within its budget, but for what was only measured afterwards."""

    def __init__(self, budgets: Mapping[str, int]) -> None:
        self.budgets = dict(budgets)
        self.used = dict.fromkeys(budgets, 0)
        self.quarantine: dict[str, dict[str, int]] = {}
        """What did not come back, by the model that had it."""
        self.quarantined = dict.fromkeys(budgets, 0)
        self.foreign = dict.fromkeys(budgets, 0)
        """What the budget allows and the machine, when it was last looked at, did not have."""

    def change(self, before: Amounts, after: Amounts) -> None:
        """Move the account from what something was charged to what it is charged now."""
        for pool, size in before.items():
            self.used[pool] -= size
        for pool, size in after.items():
            self.used[pool] += size

    def observe(self, available: Mapping[str, int | None]) -> None:
        """Note what the machine can still give."""
        for pool, real in available.items():
            if real is None or pool not in self.budgets:
                continue
            promised = self.budgets[pool] - self.used[pool] - self.quarantined[pool]
            self.foreign[pool] = max(0, promised - max(0, real))

    def free(self, pool: str) -> int:
        """Give what can be handed out now."""
        return self.budgets[pool] - self.used[pool] - self.quarantined[pool] - self.foreign[pool]

    def lacking(self, amounts: Amounts) -> dict[str, int]:
        """Give by how much some amounts would bring each pool over its budget."""
        most = {p: self.budgets[p] - self.used[p] - self.quarantined[p] for p in amounts}
        return {pool: size - most[pool] for pool, size in amounts.items() if size > most[pool]}

    def set_quarantine(self, id: str, amounts: Amounts) -> None:  # noqa: A002
        """Note what a model that is unloaded still holds; nothing ends it."""
        for pool, size in self.quarantine.pop(id, {}).items():
            self.quarantined[pool] -= size
        kept = {pool: size for pool, size in amounts.items() if size > 0}
        if kept:
            self.quarantine[id] = kept
            for pool, size in kept.items():
                self.quarantined[pool] += size

    def excess(self) -> dict[str, int]:
        """Give by how much each pool is over its budget."""
        over = {p: self.used[p] + self.quarantined[p] - size for p, size in self.budgets.items()}
        return {pool: size for pool, size in over.items() if size > 0}


def check_pools(amounts: Iterable[str], budgets: Mapping[str, int], what: str) -> None:
    """Refuse a footprint in a pool that the manager has no budget for."""
    for pool in amounts:
        if pool not in budgets:
            raise ValidationError(
                f"{what} takes memory of {pool!r}, and the manager has no budget for it: "
                f"add it to pools, which has {', '.join(budgets)}"
            )


def write_amounts(amounts: Amounts) -> str:
    """Write sizes as a person reads them: ``1.0 GiB of cpu, 5.2 GiB of gpu:0``."""
    parts = (f"{_size(size)} of {pool}" for pool, size in sorted(amounts.items()) if size)
    return ", ".join(parts) or "nothing"


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if abs(size) >= GIB else f"{size / 2**20:,.1f} MiB"
