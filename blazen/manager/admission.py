"""How requests come to a model and leave it: at once where they can, else by way of the queue."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blazen import errors
from blazen.errors import BlazenError
from blazen.manager.accounts import Accounts
from blazen.manager.driver import Driver, Loop
from blazen.manager.entries import Entry, Phase, Ticket
from blazen.types.stream import Source

if TYPE_CHECKING:
    from blazen.manager.lease import Lease

log = logging.getLogger("blazen.manager")


class Admission:
    """Lets requests in and out."""

    def __init__(self, driver: Driver, accounts: Accounts) -> None:
        self._driver = driver
        self.scheduler = driver.scheduler
        self._accounts = accounts
        # Held under names of its own, since this is on the way of every request.
        self._lock, self._clock = driver.lock, driver.clock
        self._left: deque[Callable[[], bool]] = deque()
        """What was dropped where no lock may be taken; each says whether it has ended."""
        self._wants: set[asyncio.Task[None]] = set()

    def at_once(self, lease: Ticket) -> bool:
        """Give a lease, where nothing stands against it."""
        with self._lock:
            if not self.scheduler.acquire(lease, self._clock()):
                return False
        if self._driver.alarms:  # those who never wait must see to it that time goes on
            self._driver.rescue()
        if self.scheduler.has_actions:
            self._driver.perform()
        return True

    async def enter(self, lease: Lease, begin: Callable[[Ticket, float], None]) -> None:
        """Have a request wait for what it begins."""
        entry, driver = lease.entry, self._driver
        driver.home = asyncio.get_running_loop()
        driver.rescue()
        self._sweep()
        if not entry.recalled and begin == self.scheduler.wait:
            await lease.or_settled(self._accounts.find_footprint(entry))
        if entry.footprint is not None:
            self._accounts.look(entry.footprint.loading)
        driver.do(begin, lease)

    def leave(self, lease: Ticket, end: Callable[[Ticket, float], None]) -> None:
        """Take back a request that waits no more."""
        self._driver.do(end, lease)

    def release(self, lease: Ticket) -> None:
        """Take back a lease."""
        entry, scheduler = lease.entry, self.scheduler
        if not lease.granted:
            return
        if scheduler.queue:
            self._accounts.look_again()
        with self._lock:
            scheduler.release(lease, self._clock())
        window = entry.window
        if window is not None and window.is_open and not entry.leases:
            self._accounts.after_use(entry)
        if scheduler.has_actions:
            self._driver.perform()

    def release_later(self, lease: Lease) -> None:
        """Take back a lease where no lock may be taken, as in a finalizer."""

        def end() -> bool:
            self.release(lease)
            return True

        self._later(end, lease.loop or self._driver.home)

    def leave_later(self, lease: Lease, end: Callable[[Ticket, float], None]) -> None:
        """Take back a request that waits no more, where no lock may be taken."""

        def leave() -> bool:
            self.leave(lease, end)
            return True

        self._later(leave, self._driver.home)

    def close_later(self, source: Source[Any], lease: Ticket, loop: Loop) -> None:
        """Take back a lease from a finalizer, once the stream that had it has stopped."""

        def close() -> bool:
            if loop.is_closed():
                source.abandon()
                self.release(lease)
            elif asyncio._get_running_loop() is loop:
                self._hold(loop.create_task(self._closed(source, lease)))
            else:
                return False
            return True

        self._later(close, loop)

    async def _closed(self, source: Source[Any], lease: Ticket) -> None:
        try:
            await source.aclose()
        except Exception as error:  # noqa: BLE001 - nobody is left who could hear of it
            log.debug("%s: while a dropped stream was closed: %s", lease.entry.id, error)
        finally:
            self.release(lease)

    def _later(self, end: Callable[[], bool], loop: Loop | None) -> None:
        self._left.append(end)
        for there in (loop, self._driver.home):
            # Where all are closed, whoever comes next does it.
            if there is not None and self._driver.call(there, self._sweep):
                return

    def _sweep(self) -> None:
        for _ in range(len(self._left)):
            try:
                end = self._left.popleft()
            except IndexError:  # another thread was quicker
                return
            if not end():
                self._left.append(end)

    async def stop_wanting(self) -> None:
        """End the loads that are for nobody in particular."""
        wants = tuple(self._wants)
        for task in wants:
            task.cancel()
        await asyncio.gather(*wants, return_exceptions=True)

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._wants.add(task)
        task.add_done_callback(self._wants.discard)

    def want(self, entry: Entry) -> None:
        """Have a model loaded for nobody in particular."""
        if entry.demand is None and entry.phase is Phase.Unloaded:
            from blazen.manager.lease import Lease

            lease = Lease(self, entry)
            lease.keeps = False
            self._hold(asyncio.get_running_loop().create_task(_wanted(lease)))

    def too_late(self, lease: Lease, timeout: float, wish: str) -> BlazenError:
        """Word why a request was not served in time."""
        entry = lease.entry
        pools = entry.footprint.loading if entry.footprint is not None else {}
        with self._lock:
            doing = self.scheduler.what_about(entry)
            holds = self.scheduler.who_holds(pools)
        return errors.TimeoutError(
            f"{entry.id!r} was not {wish} within {timeout:g} s: {doing}; {holds}"
        )


async def _wanted(lease: Lease) -> None:
    try:
        await lease.reach()
    except BlazenError as error:
        log.warning("%s could not be loaded ahead of use: %s", lease.entry.id, error)
