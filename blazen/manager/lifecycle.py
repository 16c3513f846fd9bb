"""What is done with a model when it is to be loaded or to go, and what the scheduler hears."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from blazen.errors import BlazenError, LoadError
from blazen.manager.accounts import Accounts
from blazen.manager.driver import Driver
from blazen.manager.effects import Effects, is_out_of_memory
from blazen.manager.entries import Entry
from blazen.manager.tracing import Span, Tracing

T = TypeVar("T")

_PATIENCE = 8
"""How often what must be done is begun again: a model may cancel itself."""

log = logging.getLogger("blazen.manager")


class ModelLifecycle:
    """Loads and unloads real models for the scheduler."""

    def __init__(
        self, driver: Driver, effects: Effects, accounts: Accounts, tracing: Tracing | None
    ) -> None:
        self._tracing = tracing
        self._driver = driver
        self._cancelled: set[Entry] = set()
        """Whose load was cancelled and begun again."""
        self._effects = effects
        self._accounts = accounts

    async def load(self, entry: Entry) -> None:
        """Load a model, and see what it takes."""
        driver = self._driver
        started = driver.clock()
        try:
            with self._span("blazen.load", entry) as span:
                if span is not None:
                    span.set(evicted=[victim.id for victim in entry.victims])
                measured = await self._effects.load(entry)
        except asyncio.CancelledError:
            await self._cut_short(entry)
            return
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever waits for the model raises it
            await self._clean(entry)
            self._cancelled.discard(entry)
            driver.stopped.discard(entry)
            memory = is_out_of_memory(error)
            driver.do(driver.scheduler.load_failed, entry, error, out_of_memory=memory)
            return
        seconds = driver.clock() - started
        self._cancelled.discard(entry)
        driver.stopped.discard(entry)
        charges = await self._accounts.opened(entry, measured)
        driver.do(driver.scheduler.loaded, entry, charges, seconds)

    async def _cut_short(self, entry: Entry) -> None:
        """End a load that was cancelled: by us, by its loop's end, or by the model itself.

        Where someone still waits it is begun again, but only once: a model that cancels itself each
        time would be loaded for ever.
        """
        demand, ours = entry.demand, entry in self._driver.stopped
        self._driver.stopped.discard(entry)
        if ours or demand is None or not demand.tickets or entry not in self._cancelled:
            if not ours and demand is not None and demand.tickets:
                self._cancelled.add(entry)
            await self.stop_loading(entry)
            return
        self._cancelled.discard(entry)
        await self._clean(entry)
        error = LoadError(f"{entry.id}: its load was cancelled twice, and not by the manager")
        self._driver.do(self._driver.scheduler.load_failed, entry, error)

    async def stop_loading(self, entry: Entry) -> None:
        """End a load that nobody waits for any more."""
        await self._clean(entry)
        self._driver.do(self._driver.scheduler.load_failed, entry, None)

    async def unload(self, entry: Entry) -> None:
        """Have a model go, and see that its memory comes back."""
        scheduler = self._driver.scheduler
        took = entry.window.took if entry.window is not None else {}
        error: BaseException | None = None
        kept: dict[str, int] = {}
        try:
            with self._span("blazen.unload", entry):
                kept = await _insist(functools.partial(self._effects.unload, entry, took))
        except Exception as problem:  # noqa: BLE001 - whoever asked for it raises it
            error = problem
        if error is not None and entry.model.is_loaded:
            self._driver.do(scheduler.still_there, entry, error)
            return
        entry.window = None
        if kept:
            self._accounts.miss(entry, kept)
        with self._driver.lock:
            scheduler.unloaded(entry, kept, self._driver.clock(), error)
        self._driver.perform()

    def _span(self, name: str, entry: Entry) -> AbstractContextManager[Span | None]:
        if self._tracing is None:
            return contextlib.nullcontext()
        return self._tracing.span(name, model_id=entry.id)

    async def _clean(self, entry: Entry) -> None:
        """See to it that a load that ended badly leaves nothing behind."""
        try:
            await _insist(entry.model.unload)
        except Exception as error:  # noqa: BLE001 - what went wrong first is what is told
            log.debug("%s: after a failed load: %s", entry.id, error)


async def _insist(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await what must be done to its end, although the task is cancelled meanwhile."""
    for _ in range(_PATIENCE):
        # A loop that ends cancels its tasks once each, and waits for them.
        with contextlib.suppress(asyncio.CancelledError):
            return await call()
    raise BlazenError("it was cancelled again and again")
