"""What models take: said, learned, estimated, measured, and what of it came back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from blazen import hardware
from blazen.checks import parse_bytes
from blazen.errors import BlazenError, LoadError, ValidationError
from blazen.hardware import Device
from blazen.manager.driver import Driver
from blazen.manager.effects import RESIDUE_BYTES, Effects, Measured, mismatch
from blazen.manager.entries import Entry, Phase
from blazen.manager.events import EventHub, EventKind
from blazen.manager.learned import Learned, LearnedFootprints, key_of
from blazen.manager.window import Kept, Window
from blazen.types.footprint import Amounts, Footprint, largest, total

LOOK_SECONDS = 0.1
"""How old a look at what the machine has left may be while requests wait."""

RECLAIM_SECONDS = 0.5

log = logging.getLogger("blazen.manager")


class Accounts:
    """Finds out what each model takes, and has the scheduler's account follow."""

    def __init__(
        self,
        driver: Driver,
        effects: Effects,
        learned: LearnedFootprints | None,
        hub: EventHub,
    ) -> None:
        self._driver = driver
        self._effects = effects
        self._learned = learned
        self._hub = hub
        self._kept: dict[str, Kept] = {}
        self._looks = False
        """Whether a look for what is missing is due."""
        self._looked_at = 0.0

    # Before a load

    def declared(
        self,
        entry: Entry,
        estimate: int | str | None,
        footprint: Footprint | Mapping[str, int | str] | None,
    ) -> None:
        """Take what the user says of a model; nothing said is an error where none else can say."""
        given = estimate is not None or footprint is not None
        if estimate is not None and footprint is not None:
            raise ValidationError(
                f"{entry.id!r}: give memory_estimate_bytes or footprint, not both"
            )
        if entry.remote:
            if given and estimate != 0:
                raise ValidationError(
                    f"{entry.id!r} runs elsewhere and takes no memory here: leave out what it takes"
                )
            entry.phase, entry.recalled = Phase.Ready, True
            return
        if not given:
            if not hasattr(entry.model, "footprint"):
                raise _unknown_size(entry.id)
            return
        if isinstance(footprint, Footprint):
            entry.footprint = footprint
        elif footprint is not None:
            entry.footprint = Footprint.of(footprint)
        elif estimate == 0:
            entry.footprint = Footprint()
        else:
            size = parse_bytes("memory_estimate_bytes", estimate)
            entry.footprint = Footprint({_pool_of(entry.model, self._budgets): size})
        entry.source = "declared"
        self._driver.scheduler.check(entry.footprint, entry.id)
        entry.recalled = self._learned is None

    async def find_footprint(self, entry: Entry) -> None:
        """Learn what a model takes, before it is loaded for the first time."""
        learned = None
        if self._learned is not None:
            learned = await asyncio.to_thread(self._recall, self._learned, entry)
        if learned is not None and entry.load_seconds is None:
            entry.load_seconds = learned.load_seconds
        declared = entry.footprint
        if declared is not None:
            if learned is not None:
                self._believe_the_larger(entry, declared, learned.footprint)
        elif learned is not None:
            self._settle(entry, learned.footprint, "learned")
        else:
            footprint = await _ask(entry)
            if footprint is None:
                raise _unknown_size(entry.id)
            self._settle(entry, footprint, "estimated")
        entry.recalled = True

    def _recall(self, learned: LearnedFootprints, entry: Entry) -> Learned | None:
        # While nothing has changed the model: it may be known by no more than its attributes.
        if not entry.key:
            entry.key = key_of(entry.model)
        return learned.get(entry.key)

    def _believe_the_larger(self, entry: Entry, declared: Footprint, seen: Footprint) -> None:
        word = mismatch(declared, largest(declared.resident, seen.resident))
        if word:
            self._hub.tell(EventKind.Mismatch, entry.id, detail=word)
            both = Footprint(
                largest(declared.resident, seen.resident),
                largest(declared.load_peak, seen.load_peak),
                largest(declared.per_request, seen.per_request),
            )
            self._settle(entry, both, "learned")

    def _settle(self, entry: Entry, footprint: Footprint, source: str) -> None:
        self._driver.scheduler.check(footprint, entry.id)
        with self._driver.lock:
            if entry.phase is Phase.Unloaded:
                entry.footprint, entry.source = footprint, source

    @property
    def _budgets(self) -> Iterable[str]:
        return self._driver.scheduler.ledger.budgets

    # After a load and the first work

    async def opened(self, entry: Entry, measured: Measured) -> Amounts:
        """Give what a model that was just loaded is to be charged."""
        footprint = entry.footprint
        assert footprint is not None
        window = entry.window = Window(doings=self._effects.doings)
        if not (measured.alone and measured.took):
            return footprint.resident
        window.levels, window.took = measured.before, measured.took
        window.peak, window.is_open = measured.peak, True
        window.floor = await self._floor(entry)
        charges = largest(footprint.resident, measured.took)
        self._compare(entry, charges)
        if charges != footprint.resident:  # what it took counts for the next load too
            peak = largest(footprint.load_peak, measured.peak)
            entry.footprint = Footprint(charges, peak, footprint.per_request)
        return charges

    async def _floor(self, entry: Entry) -> dict[str, int]:
        """Give what the backend says that a model may grow to."""
        if entry.source == "estimated" and entry.footprint is not None:
            return entry.footprint.resident
        if not hasattr(entry.model, "footprint"):
            return {}
        try:
            found: Footprint | None = await entry.model.footprint()
        except Exception as error:  # noqa: BLE001 - it is loaded: a bound that is missing is no harm
            log.debug("%s: %s", entry.id, error)
            return {}
        return {} if found is None else dict(found.resident)

    def after_use(self, entry: Entry) -> None:
        """Have the account follow what a model holds after its first work.

        Many engines take much of their memory only then. From now on, and in later runs, this is
        what the model is taken to need.
        """
        window = entry.window
        window.is_open = False
        driver, effects = self._driver, self._effects
        with driver.lock:
            alone = effects.doings == window.doings and driver.scheduler.worked_alone(entry)
        if not alone:
            return
        now = effects.used(list(window.levels), entry)
        working = {p: max(0, size - window.levels[p]) for p, size in now.items()}
        window.took = largest(window.took, working)
        before = entry.footprint.resident if entry.footprint is not None else {}
        unseen = {pool: size for pool, size in before.items() if pool not in now}
        charges = largest(window.took, window.floor, unseen)
        self._compare(entry, charges)
        assert entry.footprint is not None
        seen = Footprint(charges, largest(charges, window.peak), entry.footprint.per_request)
        with driver.lock:
            # It may be about to go; the next load needs what this one took all the same.
            entry.footprint, entry.source = seen, "measured"
            driver.scheduler.measured(entry, charges, driver.clock())
        driver.perform()
        if self._learned is not None:
            self._remember(self._learned, entry, seen)

    def _remember(self, learned: LearnedFootprints, entry: Entry, seen: Footprint) -> None:
        key, found = entry.key, Learned(seen, entry.load_seconds or 0.0)

        def keep() -> None:
            learned.put(key, found)

        loop = asyncio._get_running_loop()
        if loop is None:
            keep()
        else:  # it writes a file, and this is on the way of a request
            loop.run_in_executor(None, keep)

    def _compare(self, entry: Entry, charges: Amounts) -> None:
        """Warn, with both numbers, where a declared size is far from the measured one."""
        window = entry.window  # none: its process is gone in this moment
        if entry.source != "declared" or entry.footprint is None or not window or window.told:
            return
        word = mismatch(entry.footprint, charges)
        if word:
            window.told = True
            self._hub.tell(EventKind.Mismatch, entry.id, detail=word)

    # After an unload

    def miss(self, entry: Entry, kept: dict[str, int]) -> None:
        """Note what a model did not give back, and look for it from time to time."""
        before = self._kept.get(entry.id)
        still = {} if before is None else self._still_missing(before)
        if before is not None and still != before.amounts:
            self._driver.do(self._driver.scheduler.reclaimed, entry.id, still)
        self._kept[entry.id] = self._missing(total(still, kept))
        self._look_later()

    def _look_later(self) -> None:
        if not self._looks:
            self._looks = True
            self._driver.call_later(RECLAIM_SECONDS, self._look_for_returns)

    def _missing(self, kept: dict[str, int]) -> Kept:
        return Kept(kept, self._effects.used(list(kept)), self._seen(kept))

    def _seen(self, pools: Amounts) -> dict[str, int]:
        """Give what the models that are loaded were seen to hold."""
        with self._driver.lock:
            entries = self._driver.scheduler.entries.values()
            windows = [entry.window for entry in entries if entry.window is not None]
        return {pool: sum(window.took.get(pool, 0) for window in windows) for pool in pools}

    def _look_for_returns(self) -> None:
        """See whether memory that was missed has come back."""
        self._looks = False
        if self._effects.is_quiet:
            for id, kept in tuple(self._kept.items()):  # noqa: A001
                still = self._still_missing(kept)
                if still == kept.amounts:
                    continue
                if still:
                    self._kept[id] = self._missing(still)
                else:
                    del self._kept[id]
                self._driver.do(self._driver.scheduler.reclaimed, id, still)
        if self._kept:
            self._look_later()

    def _still_missing(self, kept: Kept) -> dict[str, int]:
        now, others = self._effects.used(list(kept.amounts)), self._seen(kept.amounts)
        still = {}
        for pool, size in kept.amounts.items():
            before = kept.levels.get(pool, 0) - kept.others.get(pool, 0)
            back = before - (now.get(pool, 0) - others.get(pool, 0))
            # Others may have come unseen meanwhile; but more than there is can't be missing.
            most = now.get(pool, 0) - self._effects.least.get(pool, 0) - others.get(pool, 0)
            left = min(size, size - back, most)
            if left > RESIDUE_BYTES:
                still[pool] = left
        return still

    # What the machine has left

    def look(self, pools: Iterable[str]) -> None:
        """Ask the machine what it can still give, and have the scheduler know."""
        available = self._effects.available(list(pools))
        if available:
            with self._driver.lock:
                self._driver.scheduler.observe(available)

    def look_again(self) -> None:
        """Do so for all pools, unless it was done a moment ago."""
        now = self._driver.clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self.look(self._budgets)


async def _ask(entry: Entry) -> Footprint | None:
    try:
        found: Footprint | None = await entry.model.footprint()
    except BlazenError:
        raise
    except Exception as error:
        raise LoadError(f"{entry.id}: {type(error).__name__}: {error}") from error
    return found


def _pool_of(model: object, budgets: Iterable[str]) -> str:
    """Give the pool that a model fills, or will once its device is chosen."""
    wish = device = Device.parse(getattr(model, "device", "cpu"))
    if wish in (Device.Auto, Device.Gpu):
        device = hardware.choose_device(wish)
    gpus = hardware.find_gpus() if device.is_gpu else ()
    shared = any(gpu.device == device and gpu.unified for gpu in gpus)
    pool = "cpu" if shared else device.pool
    return "cpu" if wish == Device.Auto and pool not in budgets else pool


def _unknown_size(id: str) -> ValidationError:  # noqa: A002
    return ValidationError(
        f"nobody knows how much memory {id!r} takes: its backend does not say, and it was never "
        "measured; give memory_estimate_bytes='2GiB', or footprint={'cpu': '1GiB', 'gpu:0': '5GiB'}"
    )
