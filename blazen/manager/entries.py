"""What the scheduler knows of each model, of each request for one, and of those that wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from blazen.manager.policy import Holding
from blazen.types.footprint import Footprint


class Phase(Enum):
    """Where a model's weights are."""

    Unloaded = "unloaded"
    Loading = "loading"
    Ready = "ready"
    Unloading = "unloading"


class Entry:
    """A registered model. What changes here, only the scheduler changes."""

    __slots__ = (
        "broken", "can", "charges", "claimed_by", "demand", "evicted_at", "extra", "fallback",
        "fixed_threads", "footprint", "id", "idle_since", "keep_alive", "key", "leases", "leaving",
        "load_seconds", "loaded_at", "loads", "lost", "model", "open", "per_request", "phase",
        "pinned", "priority", "problem", "recalled", "reloads", "remote", "retiring", "running",
        "share", "source", "spill", "threads", "unloaders", "used_at", "uses", "victims", "wake_at",
        "window",
    )  # fmt: skip

    def __init__(
        self,
        id: str,  # noqa: A002 - the word that the manager's users write
        model: Any = None,
        footprint: Footprint | None = None,
        *,
        pinned: bool = False,
        priority: int = 0,
        keep_alive: float | None = None,
        remote: bool = False,
        threads: int = 0,
        fixed_threads: bool = True,
    ) -> None:
        self.id = id
        self.model = model
        self.footprint = footprint
        self.source = ""
        self.key = ""
        """What it is known by between runs."""
        self.recalled = False
        """Whether it was looked up what it took in earlier runs, and what its backend says."""
        self.can: dict[str, Callable[..., Any]] = {}
        self.fallback: tuple[str, ...] = ()
        self.spill: float | None = None
        """Seconds after which a request goes to the fallback."""
        self.remote = remote
        self.pinned = pinned
        self.priority = priority
        self.keep_alive = keep_alive
        self.threads = threads
        """The cores that it keeps busy while it works; 0 where that is not known."""
        self.fixed_threads = fixed_threads
        self.share = 0
        self.phase = Phase.Unloaded
        self.open = False
        """Whether a request may begin without a look at anything else."""
        self.charges: dict[str, int] = {}
        self.per_request: dict[str, int] = {}
        """What its running requests have been charged, together."""
        self.extra: dict[str, int] = {}
        """What it is given on top after a load ran out of memory."""
        self.leases: set[Ticket] = set()
        self.running = 0
        """Leases that keep cores busy."""
        self.demand: Demand | None = None
        self.claimed_by: Demand | None = None
        self.retiring = False
        """Whether it goes at its last request's end, for nobody's sake."""
        self.leaving = False
        """Whether it is being unregistered: it takes no more requests."""
        self.broken = False
        """Whether it could not be unloaded: it is still there, and no victim again."""
        self.lost = False
        """Whether its process is gone while it is still held, or while its load is being noted."""
        self.unloaders: list[Ticket] = []
        self.victims: list[Entry] = []
        """Who went for the load that runs."""
        self.loaded_at = 0.0
        self.used_at = 0.0
        self.idle_since: float | None = None
        self.wake_at: float | None = None
        """When the end of its idle time is looked at next."""
        self.evicted_at: float | None = None
        self.load_seconds: float | None = None
        self.uses = 0
        self.loads = 0
        self.reloads = 0
        self.problem = ""
        self.window: Any = None
        """What the manager measures of it; the scheduler does not look at it."""

    @property
    def held(self) -> dict[str, int]:
        """All that the account has it down for."""
        if not self.per_request:
            return self.charges
        pools = self.charges.keys() | self.per_request.keys()
        return {p: self.charges.get(p, 0) + self.per_request.get(p, 0) for p in pools}

    def holding(self) -> Holding:
        """Give what a policy sees of it."""
        # Not by way of Holding's own: every decision makes one for each model that is loaded.
        return tuple.__new__(
            Holding,
            (
                self.id,
                self.held if self.per_request else self.charges,
                bool(self.leases),
                self.priority,
                self.used_at,
                self.loaded_at,
                self.uses,
                self.load_seconds or 0.0,
                self.reloads,
            ),
        )

    def __repr__(self) -> str:
        return f"<{self.id!r} {self.phase.value}, {len(self.leases)} leases>"


class Ticket:
    """One request for a model: it waits, then holds the model, then has ended."""

    __slots__ = ("__weakref__", "background", "cores", "entry", "granted", "keeps", "parent",
                 "passed", "priority", "settle", "since", "waiting")  # fmt: skip

    def __init__(
        self,
        entry: Entry,
        *,
        priority: int | None = None,
        parent: Ticket | None = None,
        cores: bool = False,
        background: bool = False,
        keeps: bool = True,
        settle: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        self.entry = entry
        self.priority = entry.priority if priority is None else priority
        self.parent = parent
        """What its holder has already, if anything: it can't end before this one does."""
        self.cores = cores
        self.background = background
        """Whether it takes only what is free, and is given up where nothing is."""
        self.keeps = keeps
        """Whether it holds the model once it is there; one that does not only wants it loaded."""
        self.settle = settle
        """Hears once how the waiting ended."""
        self.granted = False
        self.waiting = False
        self.since = 0.0
        self.passed = 0
        """How many of a higher priority came before it."""

    def held_before(self) -> Iterator[Ticket]:
        """Give the leases that its holder has while it waits."""
        ticket = self.parent
        while ticket is not None:
            if ticket.granted:
                yield ticket
            ticket = ticket.parent


class Demand:
    """All who wait for one model, and the place of the first of them in the queue."""

    __slots__ = ("awaits", "claims", "entry", "gain", "need", "nested", "number",
                 "overtaken", "possible", "priority", "tickets")  # fmt: skip

    def __init__(self, entry: Entry, priority: float, number: int) -> None:
        self.entry = entry
        self.priority = priority
        self.number = number
        self.overtaken = 0
        self.tickets: dict[Ticket, None] = {}
        self.nested: dict[Ticket, None] = {}
        """Those of them whose holders may have something already."""
        self.claims: set[Entry] = set()
        """The models in use that take no more requests until it has what it needs."""
        self.awaits: set[Entry] = set()
        """All whose requests it may wait for."""
        self.possible = -1
        """At which of the scheduler's limits it was found that it can be met some day."""
        self.need: dict[str, int] = {}
        self.gain: dict[str, int] = {}

    @property
    def background(self) -> bool:
        """Whether all who wait would rather give up than have another model go."""
        return all(ticket.background for ticket in self.tickets)

    def order(self) -> tuple[float, int]:
        """Its place: a higher priority first, then who came first."""
        return -self.priority, self.number


class Load(NamedTuple):
    """Begin to load; `Scheduler.loaded` or `load_failed` follows."""

    entry: Entry


class StopLoading(NamedTuple):
    """Nobody waits for this load any more; `Scheduler.load_failed` follows all the same."""

    entry: Entry


class Unload(NamedTuple):
    """Begin to unload; `Scheduler.unloaded` follows."""

    entry: Entry


class Settle(NamedTuple):
    """Tell a waiting request that it has the model, or why it will not."""

    ticket: Ticket
    error: BaseException | None


class Wake(NamedTuple):
    """Call `Scheduler.pump` at this time on its clock."""

    at: float


class Share(NamedTuple):
    """Let a model use this many threads."""

    entry: Entry
    threads: int
