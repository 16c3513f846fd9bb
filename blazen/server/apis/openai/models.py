"""``/v1/models``: which models can be asked for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from blazen.catalog import Listing
from blazen.server.service import service_of

router = APIRouter()


class ModelCard(BaseModel):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    """When its file was made, in seconds since 1970; 0 where there is none."""
    owned_by: str
    kind: str
    """What it is for: ``model`` (a chat), ``embedding``, ``transcription``, ``tts`` and so on."""


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"]
    data: list[ModelCard]


@router.get("/models", response_model=ModelList, tags=["models"])
async def list_models(request: Request) -> dict[str, Any]:
    """Tell which models can be asked for, loaded or not."""
    listings = service_of(request).open.listings()
    return {"object": "list", "data": await asyncio.to_thread(lambda: [*map(_card, listings)])}


@router.get("/models/{model:path}", response_model=ModelCard, tags=["models"])
async def retrieve_model(request: Request, model: str) -> dict[str, Any]:
    """Tell of one model."""
    catalog = service_of(request).open.catalog
    return await asyncio.to_thread(lambda: _card(catalog.find_known(model)))


def _card(listing: Listing) -> dict[str, Any]:
    created = 0
    if listing.path is not None:
        with contextlib.suppress(OSError):
            created = int(listing.path.stat().st_mtime)
    return {
        "id": listing.name,
        "object": "model",
        "created": created,
        "owned_by": "blazen",
        "kind": listing.kind,
    }
