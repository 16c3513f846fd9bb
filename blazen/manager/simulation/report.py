"""What a simulation found, for programs and for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blazen.manager.simulation.optimum import Optimum
from blazen.types.record import Record

SHOWN_MODELS = 12


@dataclass(frozen=True)
class Waits(Record):
    """How long requests waited for their model, in seconds, those that did not have to included."""

    count: int = 0
    """How many had to wait."""
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Waits:
        """Sum up waits of so many seconds."""
        every = sorted(seconds)
        if not every:
            return cls()
        return cls(
            count=sum(1 for wait in every if wait > 0),
            mean=math.fsum(every) / len(every),
            p50=_quantile(every, 0.5),
            p95=_quantile(every, 0.95),
            longest=every[-1],
        )


@dataclass(frozen=True)
class PoolUse(Record):
    """How full a pool was, in bytes."""

    name: str
    budget: int
    peak: int
    mean: float
    """Over the time from the first request to the end of the last."""


@dataclass(frozen=True)
class ModelUse(Record):
    """What became of one model and of the requests for it."""

    id: str
    requests: int = 0
    answered: int = 0
    refused: int = 0
    late: int = 0
    loads: int = 0
    evictions: int = 0
    bytes_loaded: int = 0
    waits: Waits = Waits()


@dataclass(frozen=True)
class SimulationReport(Record):
    """What a manager would have done with a trace."""

    policy: str
    requests: int
    answered: int
    refused: int
    """They could not be served: the model has no room in the pools, or too many waited."""
    late: int
    """They waited longer than was allowed."""
    loads: int
    evictions: int
    """How often a model went to make room for another."""
    idle_unloads: int
    """How often one went since nobody had asked for it for its keep-alive."""
    bytes_loaded: int
    """How much was moved into memory, all pools together."""
    waits: Waits
    makespan: float
    """Seconds from the first request to the end of the last."""
    busy_share: float
    """The share of these in which at least one request ran."""
    pools: tuple[PoolUse, ...]
    models: tuple[ModelUse, ...]
    optimum: Optimum
    """The fewest loads for the requests in the order in which they began here."""
    optimum_as_asked: Optimum
    """The same in the order in which they were made: it is alike for all policies. A manager can do
    better, where requests that wait for one model are served by one load."""

    @property
    def loads_over_optimum(self) -> float:
        """How many times as often as needed models were loaded, or a little less than that.

        It is exact where ``optimum.is_exact``, and else an upper bound.
        """
        return self.loads / max(1, self.optimum.loads_at_least)

    @property
    def requests_per_second(self) -> float:
        """How many requests were answered in a second, over the makespan."""
        return self.answered / self.makespan if self.makespan else 0.0

    def __str__(self) -> str:
        asked = f"{self.answered:,} answered, {self.refused:,} refused, {self.late:,} too late"
        head = {
            "policy": self.policy,
            "requests": asked,
            "loads": f"{self.loads:,}, {_gib(self.bytes_loaded)}",
            "  at the least": _write_optimum(self.optimum, self.loads),
            "  as asked": _write_optimum(self.optimum_as_asked, self.loads),
            "evictions": f"{self.evictions:,}, and {self.idle_unloads:,} unloaded when idle",
            "waits": _write_waits(self.waits),
            "makespan": f"{self.makespan:,.1f} s, busy {self.busy_share:.0%} of it",
        }
        width = max(map(len, head))
        lines = [f"{name:<{width}}  {text}" for name, text in head.items()]
        pools: list[tuple[str, ...]] = [("pool", "budget", "peak", "mean")]
        pools += [
            (pool.name, *(_gib(size) for size in (pool.budget, pool.peak, pool.mean)))
            for pool in self.pools
        ]
        most = sorted(self.models, key=lambda model: -model.loads)[:SHOWN_MODELS]
        models: list[tuple[str, ...]] = [("model", "requests", "loads", "evictions", "mean wait")]
        models += [
            (m.id, f"{m.requests:,}", f"{m.loads:,}", f"{m.evictions:,}", f"{m.waits.mean:.3g} s")
            for m in most
        ]
        lines += ["", *_columns(pools), "", *_columns(models)]
        if len(most) < len(self.models):
            lines.append(f"and {len(self.models) - len(most):,} models with fewer loads")
        return "\n".join(lines)


def _write_optimum(optimum: Optimum, loads: int) -> str:
    low, high = optimum.loads_at_least, optimum.loads_at_most
    ratio = f"{loads / max(1, low):.2f}"
    if optimum.is_exact:
        return f"{low:,} (Belady): {ratio} times as many were done"
    best = f"{loads / max(1, high):.2f}"
    return f"{low:,} to {high:,} (bounds): {best} to {ratio} times as many were done"


def _write_waits(waits: Waits) -> str:
    times = {
        "mean": waits.mean,
        "half within": waits.p50,
        "95 % within": waits.p95,
        "longest": waits.longest,
    }
    return ", ".join([f"{waits.count:,}", *(f"{w} {s:.3g} s" for w, s in times.items())])


def _quantile(every: Sequence[float], share: float) -> float:
    return every[max(0, math.ceil(share * len(every)) - 1)]


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
