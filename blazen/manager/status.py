"""What a manager holds at one moment, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from blazen.types.footprint import Footprint
from blazen.types.record import Record


class State(str, Enum):
    """Where a model stands."""

    Remote = "remote"
    """It runs elsewhere and takes no memory here."""
    Unloaded = "unloaded"
    Loading = "loading"
    Ready = "ready"
    Draining = "draining"
    """It goes when its last request has ended, and takes no new ones before."""
    Unloading = "unloading"


@dataclass(frozen=True)
class PoolStatus(Record):
    """One memory pool, in bytes. ``used`` holds ``quarantined``."""

    name: str
    budget: int
    used: int
    quarantined: int = 0
    """What models that are unloaded did not give back."""
    foreign: int = 0
    """What the budget allows and the machine does not have: other programs took it."""

    @property
    def available(self) -> int:
        """What a model that loads now can have without another going."""
        return max(0, self.budget - self.used - self.foreign)


@dataclass(frozen=True)
class ModelStatus(Record):
    """One registered model."""

    id: str
    state: State
    can: tuple[str, ...]
    """What it can be asked for: ``complete``, ``embed``, …"""
    device: str = ""
    charges: dict[str, int] = field(default_factory=dict)
    """What the account has it down for, in each pool, requests included."""
    footprint: Footprint | None = None
    """``None`` where it is only known once the backend has looked."""
    footprint_source: str = ""
    """``declared``, ``learned``, ``estimated`` or ``measured``."""
    leases: int = 0
    waiting: int = 0
    pinned: bool = False
    priority: int = 0
    keep_alive: float | None = None
    """Seconds that it stays without a request; ``None`` is for ever, 0 not at all."""
    idle_seconds: float | None = None
    loads: int = 0
    load_seconds: float | None = None
    uses: int = 0
    fallback: tuple[str, ...] = ()
    problem: str = ""
    """Why its last load or unload failed."""


@dataclass(frozen=True)
class ManagerStatus(Record):
    """Everything: pools, models, and who waits."""

    pools: tuple[PoolStatus, ...]
    models: tuple[ModelStatus, ...]
    waiting: int = 0
    """Requests that wait for a model."""
    cores: int = 0
    cores_used: int = 0

    def __str__(self) -> str:
        from blazen.manager.table import render

        return render(self)

    def _repr_html_(self) -> str:
        from blazen.manager.table import render_html

        return render_html(self)


@dataclass(frozen=True)
class Explanation(Record):
    """What a request for a model would lead to now; nothing is done."""

    id: str
    ready: bool
    """Whether it would start at once."""
    possible: bool
    """Whether it can start at all, as things are."""
    needs: dict[str, int] = field(default_factory=dict)
    evicts: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    """Models in use that would have to end their requests first."""
    behind: int = 0
    """Models that other requests wait for already."""
    load_seconds: float | None = None
    """How long its last load took; ``None`` where it never loaded."""
    fallback: str = ""
    """The model that would be asked instead if it could not start."""
    reason: str = ""
    """The whole in a sentence."""
