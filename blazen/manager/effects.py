"""Loading and unloading real models, and measuring what that takes and gives back."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from blazen import bridge, hardware
from blazen.errors import BackendCrashedError, BlazenError, BudgetError, LoadError
from blazen.hardware import Device
from blazen.manager.entries import Entry
from blazen.types.footprint import Amounts, Footprint, largest
from blazen.types.progress import OnProgress, Progress

if TYPE_CHECKING:
    from blazen.manager.meter import Meter

MARGIN = 0.25
"""How far a declared size may be from the measured one before that is told."""

SLACK_BYTES = 64 << 20
"""What a measurement of a whole process can't tell from its other doings."""

RESIDUE_BYTES = 16 << 20
"""What an unload may leave behind without being charged for it: the next load uses it again."""

SETTLE_SECONDS = 2.0
"""How long memory may take to come back after an unload; drivers were seen to take 1.5 s."""

STILL_SECONDS = 0.25
"""How long nothing must come back of RAM, where it takes no driver, before the rest is missed."""

_PEAK_EVERY = 0.02

log = logging.getLogger("blazen.manager")


class Effects:
    """Runs loads and unloads one by one for each model, and says how each ended."""

    def __init__(self, meter: Meter | None, engines: Callable[[], int]) -> None:
        self._meter = meter
        self._engines = engines
        self._doings = 0
        """Counts what changes the memory, so that a measurement knows if it was alone."""
        self._running = 0
        self.least: dict[str, int] = {}
        """The least that was ever seen in use of each pool."""
        self._alone: dict[str, Future[None]] = {}
        self._listeners: dict[Entry, list[OnProgress]] = {}
        self._watched: dict[Entry, Callable[[], None]] = {}

    def listen(self, entry: Entry, listener: OnProgress) -> Callable[[], None]:
        """Have the progress of a model's loads reported; the result ends it."""
        listeners = self._listeners.setdefault(entry, [])
        told = bridge.on_loop(listener)
        listeners.append(told)
        return lambda: listeners.remove(told)

    def watch(self, entry: Entry, tell: Callable[[BackendCrashedError], None]) -> None:
        """Have a function told, on any thread, when a model's process is gone."""
        on_lost = getattr(entry.model, "on_lost", None)
        if on_lost is None:
            return

        def lost(error: BackendCrashedError) -> None:
            self._doings += 1  # who measures now is not alone
            tell(error)

        self._watched[entry] = on_lost(lost)

    def forget(self, entry: Entry) -> None:
        """Drop what is known of a model."""
        self._listeners.pop(entry, None)
        if entry in self._watched:
            self._watched.pop(entry)()

    async def load(self, entry: Entry) -> Measured:
        """Load a model; tell what it took where that could be measured."""
        pools = list(entry.charges)
        with self._doing() as quiet, _Peak(self._meter, pools) as peak:
            whole, before = self.used(pools), self.used(pools, entry)
            await self._load_alone(entry)
            after = self.used(pools, entry)
            took = {p: max(0, after[p] - before[p]) for p in pools if p in before and p in after}
            alone = quiet()
        return Measured(took, peak.over(whole), before, alone)

    async def _load_alone(self, entry: Entry) -> None:
        model = entry.model
        name = getattr(model, "loads_alone", None)
        turn: Future[None] = Future()
        before = self._alone.get(name) if name else None
        if name:
            self._alone[name] = turn
        try:
            if before is not None:
                await bridge.settled(before)
            # One that can change its threads takes them all, until it has to share.
            with hardware.sharing_cores(self._engines() if entry.fixed_threads else 1):
                await _load(model, lambda progress: self._report(entry, progress))
            if entry.fixed_threads:
                entry.threads = threads_of(model)
        except BlazenError:
            raise
        except Exception as error:
            raise LoadError(f"{entry.id}: {type(error).__name__}: {error}") from error
        finally:
            if before is None or before.done():
                turn.set_result(None)
            else:  # it gave up in the line: who comes after it waits for who is before it
                before.add_done_callback(lambda _: turn.set_result(None))
            if name and self._alone.get(name) is turn and turn.done():
                del self._alone[name]

    def _report(self, entry: Entry, progress: Progress) -> None:
        for listener in tuple(self._listeners.get(entry, ())):
            listener(progress)

    async def unload(self, entry: Entry, took: Amounts) -> dict[str, int]:
        """Unload a model; give what of its memory was not seen to come back."""
        pools = [pool for pool in entry.charges if took.get(pool)]
        with self._doing() as quiet:
            before = self.used(pools, entry)
            crashed = not entry.model.is_loaded  # its memory is back already
            await entry.model.unload()
            return {} if crashed else await self._release(entry, before, took, quiet)

    async def _release(
        self,
        entry: Entry,
        before: Amounts,
        took: Amounts,
        quiet: Callable[[], bool],
    ) -> dict[str, int]:
        """Wait until the memory is back, or for as long as that may take."""
        loop, pools = asyncio.get_running_loop(), list(before)
        deadline = loop.time() + SETTLE_SECONDS
        pause, moved, last = 0.005, loop.time(), before
        while True:
            now = self.used(pools, entry)
            if any(now[pool] < last.get(pool, 0) for pool in now):
                moved, last = loop.time(), now
            kept = {
                pool: took[pool] - max(0, before[pool] - now[pool]) for pool in pools if pool in now
            }
            missing = {pool: size for pool, size in kept.items() if size > RESIDUE_BYTES}
            # Where others loaded or unloaded meanwhile, nobody can tell whose memory it is.
            if not missing or not quiet():
                return {}
            still = set(missing) == {"cpu"} and loop.time() >= moved + STILL_SECONDS
            if still or loop.time() >= deadline:
                return missing
            await asyncio.sleep(pause)
            pause = min(0.1, pause * 2)

    def used(self, pools: list[str], entry: Entry | None = None) -> dict[str, int]:
        """Measure some pools now; those that can't be are left out.

        Of a model that has a process of its own, what that holds of the RAM counts, and no more: it
        is known whatever else goes on, as when a spare process starts.
        """
        if self._meter is None:
            return {}
        read = {pool: self._meter.used(pool) for pool in pools}
        found = {pool: size for pool, size in read.items() if size is not None}
        for pool, size in found.items():
            self.least[pool] = min(size, self.least.get(pool, size))
        measure = getattr(self._meter, "used_by", None)
        if "cpu" in found and measure is not None and entry is not None and _is_apart(entry.model):
            pid = entry.model.pid
            found["cpu"] = 0 if pid is None else measure(pid)
        return found

    def available(self, pools: list[str]) -> dict[str, int | None]:
        """Ask the machine what it can still give."""
        if self._meter is None:
            return {}
        return {pool: self._meter.available(pool) for pool in pools}

    @property
    def is_quiet(self) -> bool:
        """Whether nothing loads or unloads."""
        return self._running == 0

    @property
    def doings(self) -> int:
        """How many loads and unloads were begun."""
        return self._doings

    def _doing(self) -> _Doing:
        return _Doing(self)


class _Doing:
    """Notes that a load or an unload runs, and tells whether it ran by itself."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._number = 0

    def __enter__(self) -> Callable[[], bool]:
        effects = self._effects
        others = effects._running
        effects._running += 1
        effects._doings += 1
        self._number = effects._doings
        return lambda: others == 0 and effects._doings == self._number

    def __exit__(self, *_: object) -> None:
        self._effects._running -= 1


class Measured:
    """What a load was measured to take."""

    __slots__ = ("alone", "before", "peak", "took")

    def __init__(
        self, took: dict[str, int], peak: dict[str, int], before: dict[str, int], alone: bool
    ) -> None:
        self.took = took
        self.peak = largest(peak, took)
        self.before = before
        self.alone = alone
        """Whether nothing else loaded or unloaded meanwhile: only then it is this model's."""


class _Peak:
    """Watches, while a model loads, how high the use of some pools goes."""

    def __init__(self, meter: Meter | None, pools: list[str]) -> None:
        self._meter = meter
        self._pools = pools
        self._most: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> _Peak:
        if self._meter is not None and self._pools:
            self._look()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def over(self, before: Amounts) -> dict[str, int]:
        """Give how far above a level each pool went."""
        return {p: max(0, size - before[p]) for p, size in self._most.items() if p in before}

    def _look(self) -> None:
        assert self._meter is not None
        for pool in self._pools:
            size = self._meter.used(pool)
            if size is not None:
                self._most[pool] = max(size, self._most.get(pool, 0))
        self._timer = asyncio.get_running_loop().call_later(_PEAK_EVERY, self._look)


def _is_apart(model: Any) -> bool:
    return getattr(model, "isolation", None) is not None


async def _load(model: Any, report: OnProgress) -> None:
    if _takes_progress(model.load):
        await model.load(on_progress=report)
    else:
        await model.load()


def _takes_progress(load: Callable[..., Coroutine[Any, Any, None]]) -> bool:
    try:
        parameters = inspect.signature(load).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "on_progress" or p.kind is p.VAR_KEYWORD for p in parameters)


def threads_of(model: Any) -> int:
    """Give how many cores a model keeps busy while it works; 0 where that is not known.

    One that works on a GPU leaves them to others.
    """
    threads = getattr(model, "threads", None)
    device = Device.parse(getattr(model, "device", "cpu"))
    return threads if isinstance(threads, int) and not device.is_gpu else 0


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether a load failed because there was too little memory in fact."""
    while error is not None:
        text = f"{type(error).__name__} {error}".lower()
        if isinstance(error, (MemoryError, BudgetError)) or any(
            words in text for words in ("out of memory", "outofmemory", "failed to allocate",
                                        "bad_alloc", "unable to allocate")
        ):  # fmt: skip
            return True
        error = error.__cause__
    return False


def mismatch(declared: Footprint, took: Amounts) -> str:
    """Word how far a declared footprint is from the measured one, if that is worth telling."""
    off = []
    for pool in declared.resident.keys() | took.keys():
        said, seen = declared.resident.get(pool, 0), took.get(pool, 0)
        if abs(said - seen) > max(SLACK_BYTES, MARGIN * max(said, seen)):
            off.append(f"{seen / 2**20:,.0f} MiB of {pool}, and {said / 2**20:,.0f} MiB declared")
    return "; ".join(off)
