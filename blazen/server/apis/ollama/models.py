"""Which models there are, what they are, and which are loaded."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version as package_version
from typing import Any

from fastapi import APIRouter, Request

from blazen.catalog import Listing
from blazen.errors import BlazenError
from blazen.manager import ModelStatus, State
from blazen.server.apis.ollama.asked import ShowBody
from blazen.server.apis.ollama.names import (
    details_of,
    digest_of,
    header_or_none,
    listing_of,
    modified_at,
    written,
)
from blazen.server.apis.ollama.shapes import (
    FAILURES,
    Processes,
    Running,
    Shown,
    Tag,
    Tags,
    Version,
)
from blazen.server.failures import Refusal
from blazen.server.headers import context_of, template_of
from blazen.server.service import Service, service_of
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.array import GgufArray

router = APIRouter(responses=FAILURES)

FOLLOWED = "0.12.11"
"""The version of Ollama whose API these routes follow: clients compare it with what they need."""

_KINDS = ("model", "embedding")
_STAYS = "9999-12-31T23:59:59Z"
_LONGEST = 100 * 365 * 86_400.0
"""Seconds that are for ever to a calendar."""


@router.get("/api/tags", response_model=Tags)
async def tags(request: Request) -> Tags:
    """List the models for chats and for embeddings."""
    service = service_of(request)
    return await asyncio.to_thread(_tags, service)


@router.get("/api/version", response_model=Version)
async def version() -> Version:
    """Say which version of Ollama's API this is."""

    return Version(version=FOLLOWED, blazen=package_version("blazen"))


@router.get("/api/ps", response_model=Processes)
async def processes(request: Request) -> Processes:
    """List the models that are loaded."""
    service = service_of(request)
    loaded = [
        model
        for model in service.manager.status().models
        if model.state in (State.Ready, State.Draining) and model.can
    ]
    return Processes(models=[await asyncio.to_thread(_running, service, model) for model in loaded])


@router.post("/api/show", response_model=Shown, response_model_exclude_none=True)
async def show(request: Request, body: ShowBody) -> Shown:
    """Tell all about a model."""
    service = service_of(request)
    name = body.model or body.name
    if not name:
        raise Refusal(400, "model is required")
    listing = await listing_of(service, name)
    return await asyncio.to_thread(_shown, listing, verbose=bool(body.verbose))


def _tags(service: Service) -> Tags:
    models = []
    for kind in _KINDS:
        for listing in service.open.listings(kind):
            header = header_or_none(listing)
            models.append(
                Tag(
                    name=listing.name,
                    model=listing.name,
                    modified_at=modified_at(header),
                    size=_size(listing, header),
                    digest=digest_of(listing),
                    details=details_of(listing, header),
                )
            )
    return Tags(models=models)


def _running(service: Service, model: ModelStatus) -> Running:
    listing = service.open.listing_of(model.id)
    header = header_or_none(listing)
    on_gpus = sum(size for pool, size in model.charges.items() if pool != "cpu")
    expires = _STAYS
    if model.keep_alive is not None and model.keep_alive < _LONGEST and not model.pinned:
        expires = written(time.time() + max(0.0, model.keep_alive - (model.idle_seconds or 0.0)))
    return Running(
        name=model.id,
        model=model.id,
        size=sum(model.charges.values()),
        size_vram=on_gpus,
        digest=digest_of(listing),
        details=details_of(listing, header),
        expires_at=expires,
        context_length=context_of(listing, header) or 0,
    )


def _shown(listing: Listing, *, verbose: bool) -> Shown:
    header = header_or_none(listing)
    told = None if header is None else header.metadata.get("general.license")
    return Shown(
        # What the file lies under on this machine is nobody's business.
        modelfile=f"# What {listing.name} is opened with is written in blazen.toml.\n"
        f"FROM {listing.name}\n",
        parameters="\n".join(
            f"{theirs} {listing.options[ours]}"
            for theirs, ours in (("num_ctx", "context_length"), ("num_batch", "batch_size"))
            if ours in listing.options
        ),
        template=listing.options.get("chat_template")
        or (header.chat_template if header is not None else None)
        or "",
        license=told if isinstance(told, str) else None,
        system=listing.system,
        details=details_of(listing, header),
        model_info={} if header is None else _info(header, verbose=verbose),
        capabilities=_abilities(listing, header),
        modified_at=modified_at(header),
    )


def _info(header: GgufFile, *, verbose: bool) -> dict[str, Any]:
    whole = header.to_dict(arrays=verbose)["metadata"]
    if not verbose:
        long = (name for name, value in header.metadata.items() if isinstance(value, GgufArray))
        whole.update(dict.fromkeys(long))
    whole["general.parameter_count"] = header.parameters
    return dict(whole)


def _abilities(listing: Listing, header: GgufFile | None) -> list[str]:
    if listing.kind == "embedding":
        return ["embedding"]
    if listing.kind != "model":
        return []
    able = ["completion"]
    try:
        template = template_of(listing, header) if header is not None else None
    except BlazenError:
        template = None
    if template is not None and template.takes_tools:
        able.append("tools")
    if template is not None and template.can_reason:
        able.append("thinking")
    if listing.options.get("projector"):
        able.append("vision")
    return able


def _size(listing: Listing, header: GgufFile | None) -> int:
    if listing.size is not None:
        return listing.size
    return header.size if header is not None else 0
