"""The manager: many models by name, in the memory that they are allowed."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any

from blazen import hardware
from blazen.checks import check_choice, check_range, unknown_name
from blazen.errors import BackendCrashedError, ValidationError
from blazen.manager.abilities import abilities, innermost
from blazen.manager.accounts import Accounts
from blazen.manager.admission import Admission
from blazen.manager.driver import Driver
from blazen.manager.effects import Effects, threads_of
from blazen.manager.entries import Entry, Phase
from blazen.manager.events import Event, EventHub, EventKind
from blazen.manager.learned import LearnedFootprints
from blazen.manager.lease import Lease
from blazen.manager.lifecycle import ModelLifecycle
from blazen.manager.meter import MachineMeter, Meter
from blazen.manager.metrics import Counters, MetricsServer, prometheus_text
from blazen.manager.places import Place, placed
from blazen.manager.policy import Policy, least_recently_used
from blazen.manager.pools import detect_budgets, read_budgets
from blazen.manager.requests import Requests
from blazen.manager.scheduler import Scheduler
from blazen.manager.status import Explanation, ManagerStatus, ModelStatus, PoolStatus, State
from blazen.manager.tracing import Tracing
from blazen.options.isolation import Isolated, isolation_of
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider
    from typing_extensions import Self

MAX_WAITING = 10_000

ENGINES_AT_ONCE = 2
"""Among how many engines the cores are divided, where an engine's threads are fixed at its load."""


class ModelManager(Requests):
    """Holds many models, keeps each memory pool within its budget, and dispatches by name.

    Register more models than fit: the one that was not used for longest goes when another needs its
    room. One manager may serve several event loops and threads.

        manager = ModelManager(cpu_ram_gb=16, gpu_vram_gb=24)
        await manager.register("llm", Model.llamacpp("starter:chat"))
        answer = await manager.complete("llm", "Hello!")
    """

    def __init__(
        self,
        cpu_ram_gb: float | None = None,
        gpu_vram_gb: float | None = None,
        *,
        pools: Mapping[str, int | str] | None = None,
        budgets_from: str = "",
        policy: Policy = least_recently_used,
        cores: int | None = None,
        max_waiting: int = MAX_WAITING,
        measure: bool | Meter = True,
        learn: bool | LearnedFootprints = True,
        tracing: bool | TracerProvider = False,
        isolation: Isolated = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the budgets.

        Args:
            cpu_ram_gb: GiB of RAM that models may take together.
            gpu_vram_gb: GiB of the first GPU's memory.
            pools: Instead of these two, every pool: ``{"cpu": "48GiB", "gpu:0": "20GiB"}``.
            budgets_from: Where the user finds the budgets, for errors about what does not fit.
            policy: Which models go first: `least_recently_used`, `ReloadCost`, or your own.
            cores: How many cores the engines may keep busy together; all by default.
            max_waiting: How many requests may wait at once.
            measure: Whether the account follows what models are seen to take; or what measures it.
            learn: Whether what was measured is kept for the next run; or where.
            tracing: Whether loads and requests are told to OpenTelemetry; or to which provider.
            isolation: Where the engines of models run for which nothing else is said:
                ``"process"``, or an `Isolation`, gives each a process of its own.
            clock: What tells the time, in seconds.
        """
        check_range("cores", cores, at_least=1, integer=True)
        check_range("max_waiting", max_waiting, at_least=1, integer=True)
        _check_parts(policy, measure, learn)
        budgets = read_budgets(cpu_ram_gb, gpu_vram_gb, pools)
        self._isolation = isolation_of(isolation)
        self._entries: dict[str, Entry] = {}
        self._by_model: dict[int, Entry] = {}
        self._hub = EventHub()
        self._scheduler = Scheduler(
            budgets,
            policy=policy,
            cores=hardware.thread_budget(cores=cores),
            max_waiting=max_waiting,
            budgets_from=budgets_from,
            tell=self._hub.tell,
        )
        meter = MachineMeter() if measure is True else measure or None
        learned = LearnedFootprints() if learn is True else learn or None
        self._effects = Effects(meter, self._engines_at_once)
        self._driver = Driver(self._scheduler, clock)
        self._accounts = Accounts(
            # Where nothing is measured there is nothing to learn.
            self._driver, self._effects, learned if meter is not None else None, self._hub
        )  # fmt: skip
        self._tracing = _tracing(tracing)
        self._driver.lifecycle = ModelLifecycle(
            self._driver, self._effects, self._accounts, self._tracing
        )
        self._counters = Counters()
        self._hub.add(self._counters.add)
        self._admission = Admission(self._driver, self._accounts)

    @classmethod
    def detect(
        cls, *, reserve: Mapping[str, int | str] | int | str = "2GiB", **settings: Any
    ) -> Self:
        """Make a manager with what this machine has free now in each pool, less a reserve.

        A GPU that shares the CPU's memory has no pool of its own: its models fill ``cpu``.
        """
        return cls(pools=detect_budgets(hardware.detect(), reserve), **settings)

    # Models

    async def register(
        self,
        id: str,  # noqa: A002 - what the word is everywhere
        model: Any,
        memory_estimate_bytes: int | str | None = None,
        *,
        footprint: Footprint | Mapping[str, int | str] | None = None,
        pinned: bool = False,
        priority: int = 0,
        keep_alive: float | None = None,
        fallback: str | Sequence[str] = (),
        deadline: float | None = None,
        preload: bool = False,
        isolation: Place = "default",
    ) -> None:
        """Take a model under a name; nothing is loaded yet.

        Args:
            id: The name to dispatch by.
            model: Any model, on this machine or elsewhere. One that runs elsewhere costs nothing.
            memory_estimate_bytes: What it takes of its device's memory while it is loaded. Left
                out, it is what was learned in an earlier run, or what the backend says.
            footprint: The same for several pools, or with its peak while loading and its part
                for each request: ``{"cpu": "1GiB", "gpu:0": "5GiB"}`` or a `Footprint`.
            pinned: Never evicted.
            priority: Of two requests that wait the one of the higher priority goes first, and
                models of a lower priority are evicted first.
            keep_alive: Seconds without a request after which it is unloaded: ``None`` for never,
                0 for at once.
            fallback: The models that are asked instead, in order, where this one can't start.
            deadline: Seconds that it may take to start before the fallback is asked.
            preload: Begin to load it now, in the background.
            isolation: Where its engine runs, if not as the manager says: ``"process"``, or an
                `Isolation`, in a process of its own; ``None`` in this one. What runs then is a
                model like the one given, which `get` gives.
        """
        if not isinstance(id, str) or not id:
            raise ValidationError(f"a model's id is a text, not {id!r}")
        if id in self._entries:
            raise ValidationError(f"there is a model {id!r} already: unregister it first")
        check_range("priority", priority, integer=True)
        check_range("keep_alive", keep_alive, at_least=0)
        check_range("deadline", deadline, at_least=0)
        names = _names(fallback)
        if id in names:
            raise ValidationError(f"{id!r} can't be its own fallback")
        if deadline is not None and not names:
            raise ValidationError(f"{id!r} has a deadline but no fallback to go to after it")
        model = placed(model, isolation, self._isolation)
        can, local = abilities(model)
        entry = Entry(
            id,
            model,
            pinned=pinned,
            priority=priority,
            keep_alive=keep_alive,
            remote=not local,
            threads=threads_of(model) if local else 0,
            fixed_threads=not callable(getattr(model, "share_threads", None)),
        )
        entry.can, entry.fallback, entry.spill = can, names, deadline
        self._accounts.declared(entry, memory_estimate_bytes, footprint)
        loaded = local and model.is_loaded
        if loaded and entry.footprint is None:
            await self._accounts.find_footprint(entry)
        with self._driver.lock:
            if id in self._entries:
                raise ValidationError(f"there is a model {id!r} already: unregister it first")
            twin = self._by_model.get(_identity(model)) if local else None
            if twin is not None:
                raise ValidationError(
                    f"this model is registered already, as {twin.id!r}: under a second name its "
                    "memory would count twice; use that name, or build another model"
                )
            if loaded:
                self._scheduler.add_loaded(entry, self._driver.clock())
            else:
                self._scheduler.add(entry)
            self._entries[id] = entry
            if local:
                self._by_model[_identity(model)] = entry
                self._effects.watch(entry, functools.partial(self._lost, entry))
            self._hub.tell(EventKind.Registered, id)
        self._driver.perform()
        if preload and local:
            self._admission.want(entry)

    async def unregister(self, id: str, *, timeout: float | None = None) -> None:  # noqa: A002
        """Forget a model: let its requests end, unload it, and take its name off.

        It takes no new requests from now on. Where it can't be unloaded it stays what it was.
        """
        entry = self._entry(id)
        entry.leaving, removed = True, False
        try:
            self._driver.do(self._scheduler.turn_away, entry)
            while not removed:
                if not entry.remote:
                    await self._unload(entry, timeout)
                with self._driver.lock:
                    removed = self._scheduler.remove(entry, self._driver.clock())
                    if removed and self._entries.get(id) is entry:
                        del self._entries[id]
                        self._by_model.pop(_identity(entry.model), None)
                self._driver.perform()
        except BaseException:
            entry.leaving = False
            raise
        self._effects.forget(entry)
        self._hub.tell(EventKind.Unregistered, id)

    def get(self, id: str) -> Any:  # noqa: A002
        """Give a model itself. It may be unloaded at any moment: hold a `lease` to use it."""
        return self._entry(id).model

    def __contains__(self, id: object) -> bool:  # noqa: A002
        return id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def adjust(
        self,
        id: str,  # noqa: A002
        *,
        pinned: bool | None = None,
        keep_alive: float | EllipsisType | None = ...,
        priority: int | None = None,
    ) -> None:
        """Change how long a registered model stays; what is left out stays as it is.

        It counts from now on: one that is pinned does not go for those that wait already, and one
        that has been idle for longer than its new ``keep_alive`` goes at once.

        Args:
            id: The model's name.
            pinned: Whether it is never evicted.
            keep_alive: Seconds without a request after which it is unloaded: ``None`` for never,
                0 for at once.
            priority: That of its next requests, and its own against eviction.
        """
        entry = self._entry(id)
        check_choice("pinned", pinned, (True, False, None))
        check_range("priority", priority, integer=True)
        stays = entry.keep_alive if keep_alive is ... else keep_alive
        check_range("keep_alive", stays, at_least=0)
        self._driver.do(
            self._scheduler.adjust,
            entry,
            pinned=entry.pinned if pinned is None else bool(pinned),
            keep_alive=stays,
            priority=entry.priority if priority is None else priority,
        )

    # Loading

    async def load(
        self,
        id: str,  # noqa: A002
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Bring a model into memory, and have others go for it where they must."""
        entry = self._entry(id)
        if entry.remote:
            return
        deaf = None if on_progress is None else self._effects.listen(entry, on_progress)
        lease = Lease(self._admission, entry, timeout=timeout)
        lease.keeps = False
        try:
            await lease.reach()
        finally:
            if deaf is not None:
                deaf()

    ensure_loaded = load

    async def unload(self, id: str, *, timeout: float | None = None) -> None:  # noqa: A002
        """Let a model's requests end, then have it give its memory back.

        It takes no new requests before; those that come meanwhile have it loaded again.
        """
        await self._unload(self._entry(id), timeout)

    async def _unload(self, entry: Entry, timeout: float | None) -> None:
        if entry.remote:
            return
        lease = Lease(self._admission, entry, timeout=timeout)
        lease.expect_not_held()
        await lease.reach(self._scheduler.unload, self._scheduler.keep, wish="unloaded")

    def lease(
        self,
        id: str,  # noqa: A002
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> Lease:
        """Hold a model: ``async with manager.lease("llm") as model: ...``.

        It is loaded first where need be, and can't be evicted or unloaded before the block ends.
        """
        entry = self._entries.get(id)
        if entry is None:
            entry = self._entry(id)
        return Lease(self._admission, entry, priority, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.unload_all()

    async def unload_all(self) -> None:
        """Unload every model, once the requests of each have ended."""
        await self._admission.stop_wanting()
        problems: list[BaseException] = []
        while not problems:
            entries = [e for e in tuple(self._entries.values()) if _is_here(e)]
            if not entries:
                return
            ended = await asyncio.gather(
                *(self._unload(entry, None) for entry in entries), return_exceptions=True
            )
            problems = [problem for problem in ended if problem is not None]
        raise problems[0]

    # What there is

    async def used_bytes(self, *, pool: str = "cpu") -> int:
        """Give what the account of a pool is down for, what did not come back included."""
        self._check_pool(pool)
        ledger = self._scheduler.ledger
        with self._driver.lock:
            return ledger.used[pool] + ledger.quarantined[pool]

    async def available_bytes(self, *, pool: str = "cpu") -> int:
        """Give what a model can have of a pool now without another going."""
        self._check_pool(pool)
        self._accounts.look([pool])
        with self._driver.lock:
            return max(0, self._scheduler.ledger.free(pool))

    def status(self) -> ManagerStatus:
        """Give pools, models and who waits, as they stand now."""
        scheduler, ledger = self._scheduler, self._scheduler.ledger
        with self._driver.lock:
            now = self._driver.clock()
            pools = tuple(
                PoolStatus(
                    pool,
                    budget,
                    ledger.used[pool] + ledger.quarantined[pool],
                    ledger.quarantined[pool],
                    ledger.foreign[pool],
                )
                for pool, budget in ledger.budgets.items()
            )
            models = tuple(_status(entry, now) for entry in self._entries.values())
            return ManagerStatus(
                pools, models, scheduler.waiting, scheduler.cores, scheduler.cores_used
            )

    async def explain(self, id: str) -> Explanation:  # noqa: A002
        """Say what a request for a model would lead to now, without doing any of it."""
        entry = self._entry(id)
        if not entry.recalled:
            await self._accounts.find_footprint(entry)
        self._accounts.look(self._scheduler.ledger.budgets)
        with self._driver.lock:
            return self._scheduler.explain(entry, self._driver.clock())

    def events(self) -> AsyncIterator[Event]:
        """Hear of everything that happens from now on: ``async for event in manager.events()``."""
        return self._hub.listen()

    def metrics(self) -> str:
        """Give what happened and what there is as Prometheus reads it."""
        return prometheus_text(self.status(), self._counters)

    def metrics_server(self, *, host: str = "127.0.0.1", port: int = 9464) -> MetricsServer:
        """Serve that over HTTP: ``async with manager.metrics_server() as server: ...``."""
        return MetricsServer(self.metrics, host, port)

    def __repr__(self) -> str:
        ledger = self._scheduler.ledger
        held = ", ".join(
            f"{pool} {ledger.used[pool] / 2**30:.1f} of {budget / 2**30:.1f} GiB"
            for pool, budget in ledger.budgets.items()
        )
        return f"<ModelManager of {len(self._entries)} models: {held}>"

    def _entry(self, id: str) -> Entry:  # noqa: A002
        entry = self._entries.get(id)
        if entry is None:
            raise ValidationError(unknown_name("model", str(id), list(self._entries)))
        return entry

    def _engines_at_once(self) -> int:
        """Give among how many engines the cores are divided that can't change their threads."""
        fixed = sum(1 for e in tuple(self._entries.values()) if e.threads and e.fixed_threads)
        others = any(e.threads and not e.fixed_threads for e in tuple(self._entries.values()))
        return max(1, min(ENGINES_AT_ONCE, fixed + others))

    def _lost(self, entry: Entry, error: BackendCrashedError) -> None:
        """Hear that a model's process is gone; called on any thread."""
        self._driver.do(self._scheduler.lost, entry, str(error))

    def _check_pool(self, pool: str) -> None:
        budgets = self._scheduler.ledger.budgets
        if pool not in budgets:
            raise ValidationError(unknown_name("pool", str(pool), list(budgets)))


_STATES = {
    Phase.Unloaded: State.Unloaded,
    Phase.Loading: State.Loading,
    Phase.Ready: State.Ready,
    Phase.Unloading: State.Unloading,
}


def _identity(model: Any) -> int:
    """Tell one model from another, whatever is wrapped around it."""
    return id(innermost(model))


def _is_here(entry: Entry) -> bool:
    return not entry.remote and entry.phase is not Phase.Unloaded


def _names(fallback: str | Sequence[str]) -> tuple[str, ...]:
    names = (fallback,) if isinstance(fallback, str) else fallback
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValidationError(f"fallback takes the names of models, not {fallback!r:.80}")
    return tuple(names)


def _check_parts(policy: object, measure: object, learn: object) -> None:
    if not callable(policy):
        raise ValidationError(
            "policy takes a function such as least_recently_used, or ReloadCost(), "
            f"not {policy!r:.80}"
        )
    if not isinstance(measure, bool) and not callable(getattr(measure, "used", None)):
        raise ValidationError(f"measure takes True, False or a Meter, not {measure!r:.80}")
    if not isinstance(learn, (bool, LearnedFootprints)):
        raise ValidationError(
            f"learn takes True, False or LearnedFootprints(path), not {learn!r:.80}"
        )


def _tracing(wanted: bool | TracerProvider) -> Tracing | None:
    if wanted is False:
        return None
    return Tracing(None if wanted is True else wanted)


def _status(entry: Entry, now: float) -> ModelStatus:
    draining = entry.phase is Phase.Ready and (entry.retiring or entry.claimed_by is not None)
    state = State.Remote if entry.remote else _STATES[entry.phase]
    if entry.lost and not entry.model.is_loaded:
        state = State.Unloaded
    idle = None if entry.idle_since is None else max(0.0, now - entry.idle_since)
    return ModelStatus(
        id=entry.id,
        state=State.Draining if draining else state,
        can=tuple(entry.can),
        device=str(getattr(entry.model, "device", "")),
        charges=dict(entry.held),
        footprint=entry.footprint,
        footprint_source=entry.source,
        leases=len(entry.leases),
        waiting=len(entry.demand.tickets) if entry.demand is not None else 0,
        pinned=entry.pinned,
        priority=entry.priority,
        keep_alive=entry.keep_alive,
        idle_seconds=idle,
        loads=entry.loads,
        load_seconds=entry.load_seconds,
        uses=entry.uses,
        fallback=entry.fallback,
        problem=entry.problem,
    )
