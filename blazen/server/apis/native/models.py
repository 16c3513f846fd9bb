"""``/api/models``: the manager as it stands, as it changes, and what a user changes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from blazen.catalog import Listing
from blazen.manager import Event, ModelStatus, PoolStatus
from blazen.server.apis.native.shapes import FAILURES, Model, Models, Pool
from blazen.server.failures import Shape, without_folders
from blazen.server.fields import Body, Flag, Number, Text, Whole
from blazen.server.service import Service, service_of
from blazen.server.streaming import EVENT_STREAM, Item, sse
from blazen.server.streaming import Event as Named
from blazen.server.work import while_connected

router = APIRouter(prefix="/api/models", responses=FAILURES)

PAUSE = 0.25
"""Seconds between two looks at the manager: a status comes four times a second at the most."""

Name = Annotated[Text, Field(min_length=1)]


class ModelBody(Body):
    """The model that is meant."""

    model: Name


class AdjustBody(ModelBody):
    """What is to hold a model in memory; what is left out stays as it is."""

    pinned: Flag | None = None
    keep_alive: Annotated[Number, Field(ge=0)] | None = None
    """Seconds without a request; ``null`` is for ever."""
    priority: Whole | None = None


@router.get("", response_model=Models)
async def models(request: Request) -> Models:
    """Give the pools, all models and who waits."""
    return await asyncio.to_thread(status_of, service_of(request))


@router.get(
    "/events",
    response_class=Response,
    responses={200: {"content": EVENT_STREAM}},
)
async def events(request: Request) -> Response:
    """Tell of each change: ``status`` has what ``/api/models`` gives, ``event`` what happened."""
    return sse(request, _told(service_of(request)), Shape.Native, endless=True)


@router.post("/load", response_model=Model)
async def load(request: Request, body: ModelBody) -> Model:
    """Bring a model into memory; others go for it where they must."""
    service = service_of(request)
    id = await _registered(service, body.model)  # noqa: A001 - the manager's word
    await while_connected(request, service.manager.load(id))
    return _one(service, id)


@router.post("/unload", response_model=Model)
async def unload(request: Request, body: ModelBody) -> Model:
    """Have a model go, once its requests have ended."""
    service = service_of(request)
    id = await _registered(service, body.model)  # noqa: A001
    await while_connected(request, service.manager.unload(id))
    return _one(service, id)


@router.post("/adjust", response_model=Model)
async def adjust(request: Request, body: AdjustBody) -> Model:
    """Pin a model, or say how long it stays without a request."""
    service = service_of(request)
    id = await _registered(service, body.model)  # noqa: A001
    changes: dict[str, Any] = {"pinned": body.pinned, "priority": body.priority}
    if "keep_alive" in body.model_fields_set:
        changes["keep_alive"] = body.keep_alive
    service.manager.adjust(id, **changes)
    return _one(service, id)


async def _registered(service: Service, name: str) -> str:
    listing = await asyncio.to_thread(service.open.catalog.find_known, name)
    return await service.open.register(listing)


def status_of(service: Service) -> Models:
    """Give the manager's status, with every model that is listed, asked for or not."""
    status = service.manager.status()
    known = {model.id: model for model in status.models}
    listings = {listing.name: listing for listing in service.open.listings()}
    for id in known.keys() - listings.keys():  # noqa: A001
        listings[id] = service.open.listing_of(id)
    return Models(
        pools=[_pool(pool) for pool in status.pools],
        models=[_model(listing, known.get(name)) for name, listing in listings.items()],
        waiting=status.waiting,
        cores=status.cores,
        cores_used=status.cores_used,
    )


def _one(service: Service, id: str) -> Model:  # noqa: A002
    held = next(model for model in service.manager.status().models if model.id == id)
    return _model(service.open.listing_of(id), held)


def _pool(pool: PoolStatus) -> Pool:
    return Pool(
        name=pool.name,
        budget=pool.budget,
        used=pool.used,
        quarantined=pool.quarantined,
        foreign=pool.foreign,
        available=pool.available,
    )


def _model(listing: Listing, held: ModelStatus | None) -> Model:
    footprint = held.footprint if held is not None else None
    return Model(
        name=listing.name,
        kind=listing.kind,
        spec=shown_spec(listing),
        source=listing.source,
        size=listing.size,
        description=listing.description,
        state=held.state.value if held is not None else "unloaded",
        registered=held is not None,
        can=list(held.can) if held is not None else [],
        device=held.device if held is not None else "",
        charges=held.charges if held is not None else {},
        footprint=footprint.to_dict() if footprint is not None else None,
        footprint_source=held.footprint_source if held is not None else "",
        leases=held.leases if held is not None else 0,
        waiting=held.waiting if held is not None else 0,
        pinned=held.pinned if held is not None else listing.pinned,
        priority=held.priority if held is not None else listing.priority,
        keep_alive=held.keep_alive if held is not None else listing.keep_alive,
        idle_seconds=held.idle_seconds if held is not None else None,
        loads=held.loads if held is not None else 0,
        load_seconds=held.load_seconds if held is not None else None,
        uses=held.uses if held is not None else 0,
        fallback=list(held.fallback if held is not None else listing.fallback),
        problem=without_folders(held.problem) if held is not None else "",
    )


def shown_spec(listing: Listing) -> str:
    """Give what a model is opened with, without the folders of this machine."""
    if listing.path is None or str(listing.path) not in listing.spec:
        return listing.spec
    return f"{listing.backend}:{listing.path.name}"


async def _told(service: Service) -> AsyncIterator[Item]:
    """Give the status at once and after each change, and every event as it comes."""
    heard = service.manager.events()
    next_one = asyncio.ensure_future(_next(heard))
    before: Mapping[str, Any] | None = None
    try:
        while True:
            status = (await asyncio.to_thread(status_of, service)).model_dump()
            if _without_clocks(status) != before:
                before = _without_clocks(status)
                yield Named("status", status)
            pause = asyncio.get_running_loop().time() + PAUSE
            while (left := pause - asyncio.get_running_loop().time()) > 0:
                await asyncio.wait((next_one,), timeout=left)
                if not next_one.done():
                    break
                event = next_one.result()
                next_one = asyncio.ensure_future(_next(heard))
                yield Named("event", {**_EMPTY, **event.to_dict()})
    finally:
        next_one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await next_one
        close = getattr(heard, "aclose", None)
        if close is not None:
            await close()


_EMPTY: dict[str, Any] = {"by": "", "detail": "", "seconds": None, "bytes": {}}


async def _next(heard: AsyncIterator[Event]) -> Event:
    return await heard.__anext__()


def _without_clocks(status: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what changes although nothing happens."""
    models = [{**model, "idle_seconds": None} for model in status["models"]]
    return {**status, "models": models}
