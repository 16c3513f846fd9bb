"""A catalogue whose models can be asked: each in the manager from the moment it is named."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from blazen import hardware
from blazen.catalog.catalog import Catalog
from blazen.catalog.listing import Listing
from blazen.errors import ModelNotFoundError
from blazen.manager.manager import ModelManager
from blazen.manager.policy import ReloadCost, least_recently_used
from blazen.manager.pools import detect_budgets

_POLICIES: Mapping[str, Any] = {
    "least_recently_used": least_recently_used,
    "reload_cost": ReloadCost(),
}

_RESERVE = 2 << 30
"""What is left of each pool for other programs, or a quarter where that is less."""
_REMEMBERED = 1_000
"""Names of models that are remembered with what they mean: clients may write them in many ways."""


class OpenCatalog:
    """The models of a catalogue in one manager; each is registered when it is first named."""

    def __init__(
        self, catalog: Catalog, manager: ModelManager, keep_alive: float | None = None
    ) -> None:
        self.catalog = catalog
        self.manager = manager
        self._keep_alive = keep_alive
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}
        self._listings: dict[str, Listing] = {}
        self._coming: dict[str, Future[None]] = {}
        self._taken: set[str] = set()
        self._named: dict[tuple[str | None, str], str] = {}

    async def name_of(self, name: str | None, kind: str, *, given: bool = False) -> str:
        """Give the manager's id for what a user named; ``None`` is the default of the kind.

        What is not listed is not found: a client can't have a path of this machine or a URL opened.
        ``given`` says that the text is the user's own, and may be those too.
        """
        catalog = self.catalog
        known = self._named.get((name, kind))
        if known is not None and known in self.manager:  # each request comes by here
            return known
        if name is None:
            listing = await asyncio.to_thread(catalog.choose, kind)
        elif given:
            listing = await asyncio.to_thread(catalog.find, name, kind)
        else:
            listing = await asyncio.to_thread(catalog.find_known, name, kind)
        id = await self.register(listing)  # noqa: A001 - the manager's word
        if len(self._named) >= _REMEMBERED:
            self._named.clear()
        self._named[name, kind] = id
        return id

    async def refresh(self) -> None:
        """Look again at what lies on this machine: a model may have come, or gone."""
        await asyncio.to_thread(self.catalog.refresh)
        self._named.clear()

    async def register(self, listing: Listing) -> str:
        """Have a listing in the manager and give its id there: always the same for the same one."""
        while True:
            with self._lock:
                known = self._ids.get(listing.key)
                if known is not None and known in self.manager:
                    return known
                coming = self._coming.get(listing.key)
                if coming is None:
                    mine = self._coming[listing.key] = Future()
                    id = self._free(listing.name)  # noqa: A001 - the manager's word
            if coming is None:
                break
            await asyncio.shield(asyncio.wrap_future(coming))
        try:
            await self._enter(id, listing)
            with self._lock:
                self._ids[listing.key] = id
                self._listings[id] = listing
        finally:
            with self._lock:
                del self._coming[listing.key]
                self._taken.discard(id)
            mine.set_result(None)
        for name in listing.fallback:
            await self.name_of(name, listing.kind, given=True)
        return id

    def listings(self, kind: str | None = None) -> tuple[Listing, ...]:
        """Give all models that can be asked for, of one kind or of all."""
        return self.catalog.listings(kind)

    def listing_of(self, id: str) -> Listing:  # noqa: A002 - the manager's word
        """Give the listing behind an id of the manager."""
        return self._listings[id]

    def _free(self, name: str) -> str:
        """Give an id that no other model has: one name may be opened in two ways."""
        id, number = name, 1  # noqa: A001 - the manager's word
        while id in self.manager or id in self._taken:
            number += 1
            id = f"{name}#{number}"  # noqa: A001
        self._taken.add(id)
        return id

    async def _enter(self, id: str, listing: Listing) -> None:  # noqa: A002
        catalog = self.catalog
        model = await asyncio.to_thread(catalog.build, listing)
        footprint = listing.memory if isinstance(listing.memory, Mapping) else None
        alive = self._keep_alive if listing.keep_alive is None else listing.keep_alive
        await self.manager.register(
            id,
            model,
            None if isinstance(listing.memory, Mapping) else listing.memory,
            footprint=footprint,
            pinned=listing.pinned,
            priority=listing.priority,
            keep_alive=alive,
            fallback=[catalog.find(name, listing.kind).name for name in listing.fallback],
            deadline=listing.deadline,
            preload=listing.preload,
            isolation=listing.isolation,
        )


@asynccontextmanager
async def opened(catalog: Catalog, said: Mapping[str, Any]) -> AsyncIterator[OpenCatalog]:
    """Make the manager, register what the file names, and unload everything at the end."""
    settings = {**catalog.manager, **said}
    keep_alive = settings.pop("keep_alive", None)
    manager = _manager({**settings, "budgets_from": _origin(catalog, said)})
    async with manager:
        models = OpenCatalog(catalog, manager, keep_alive)
        for listing in catalog.configured():
            await _registered(models, listing)
        yield models


async def _registered(models: OpenCatalog, listing: Listing) -> None:
    try:
        await models.register(listing)
    except ModelNotFoundError as error:
        where = f"{models.catalog.config_path}: [models.{listing.name}]"
        raise ModelNotFoundError(f"{where}: {error}") from error


def _origin(catalog: Catalog, said: Mapping[str, Any]) -> str:
    """Say where the budgets come from, for who meets them in an error."""
    if said.get("pools") is not None:
        return "as start() was told"
    if catalog.manager.keys() & {"ram", "pools"}:
        return f"as [manager] of {catalog.config_path} has it"
    return "what was free at the start, less a reserve; [manager] of blazen.toml can say more"


def _manager(settings: dict[str, Any]) -> ModelManager:
    """Make the manager that the settings describe; the rest is as the machine has it."""
    if "policy" in settings:
        settings["policy"] = _POLICIES[settings["policy"]]
    ram = settings.pop("ram", None)
    pools = settings.pop("pools", None)
    reserve = settings.pop("reserve", None)
    if pools is None:
        machine = hardware.detect()
        if reserve is None:
            reserve = {p: min(_RESERVE, m.available // 4) for p, m in machine.pools.items()}
        pools = detect_budgets(machine, reserve)
        if ram is not None:
            pools = {**pools, "cpu": ram}
    return ModelManager(pools=pools, **settings)
