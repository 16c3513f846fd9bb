"""How much memory a model takes, in which pool and when."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from blazen.checks import parse_bytes
from blazen.errors import ValidationError
from blazen.types.record import Record

Amounts: TypeAlias = Mapping[str, int]
"""Bytes in each pool: ``{"cpu": 2**30, "gpu:0": 5 * 2**30}``."""


@dataclass(frozen=True)
class Footprint(Record):
    """What a model takes of each pool: ``cpu`` for RAM, ``gpu:N`` for a GPU's own memory.

    Sizes are bytes, or texts such as ``"6GiB"``.
    """

    resident: dict[str, int] = field(default_factory=dict)
    """While it is loaded."""
    load_peak: dict[str, int] = field(default_factory=dict)
    """While it loads, where that is more."""
    per_request: dict[str, int] = field(default_factory=dict)
    """For each request that runs, on top of ``resident``."""

    def __post_init__(self) -> None:
        for name in ("resident", "load_peak", "per_request"):
            amounts = getattr(self, name)
            if amounts != {}:
                object.__setattr__(self, name, read_amounts(name, amounts))

    @classmethod
    def of(cls, resident: Mapping[str, int | str]) -> Footprint:
        """Make one of sizes by pool: ``{"cpu": "1GiB", "gpu:0": "5GiB"}``."""
        return cls(read_amounts("footprint", resident))

    @functools.cached_property
    def loading(self) -> dict[str, int]:
        """What must be free before it may load."""
        return largest(self.resident, self.load_peak)

    @functools.cached_property
    def starting(self) -> dict[str, int]:
        """What must be free for its load and the first request after it."""
        return largest(self.loading, total(self.resident, self.per_request))


def read_amounts(name: str, amounts: Mapping[str, int | str]) -> dict[str, int]:
    """Check sizes by pool, and leave out what is zero."""
    if not isinstance(amounts, Mapping):
        raise ValidationError(
            f"{name} maps pools to sizes, such as {{'cpu': '2GiB', 'gpu:0': '5GiB'}}, "
            f"not {amounts!r:.80}"
        )
    return {
        check_pool(pool): parse_bytes(f"{name}[{pool!r}]", size)
        for pool, size in amounts.items()
        if size != 0
    }


def check_pool(pool: str) -> str:
    """Refuse what is no pool's name."""
    kind, colon, number = pool.partition(":") if isinstance(pool, str) else ("", "", "")
    numbered = colon and number.isascii() and number.isdigit() and str(int(number)) == number
    if pool != "cpu" and not (kind == "gpu" and numbered):
        raise ValidationError(f"a pool is 'cpu' or 'gpu:N', not {pool!r}")
    return pool


def largest(*every: Amounts) -> dict[str, int]:
    """Give the most of each pool."""
    out: dict[str, int] = {}
    for amounts in every:
        for pool, size in amounts.items():
            out[pool] = max(size, out.get(pool, 0))
    return out


def total(*every: Amounts) -> dict[str, int]:
    """Add up each pool."""
    out: dict[str, int] = {}
    for amounts in every:
        for pool, size in amounts.items():
            out[pool] = out.get(pool, 0) + size
    return out
