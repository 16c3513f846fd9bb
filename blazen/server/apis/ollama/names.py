"""Models as Ollama's API names and describes them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import datetime, timezone

from blazen.catalog import Listing
from blazen.errors import BlazenError, ModelNotFoundError
from blazen.server.apis.ollama.shapes import Details
from blazen.server.failures import Refusal
from blazen.server.headers import known_header
from blazen.server.service import Service
from blazen.weights.gguf import GgufFile

LATEST = ":latest"


async def id_of(service: Service, name: str, kind: str) -> str:
    """Give the manager's id for a name; ``name:latest`` means ``name``."""
    listing = await listing_of(service, name, kind)
    return await service.open.register(listing)


async def listing_of(service: Service, name: str, kind: str | None = None) -> Listing:
    """Give the listing for a name; nothing is registered for it."""
    find, short = service.open.catalog.find_known, name.removesuffix(LATEST)
    if not short.strip():
        raise Refusal(400, "model is required")
    if short != name:
        with contextlib.suppress(ModelNotFoundError):
            return await asyncio.to_thread(find, name, kind)
    return await asyncio.to_thread(find, short, kind)


def header_or_none(listing: Listing) -> GgufFile | None:
    """Give a model's header where it has one that can be read."""
    try:
        return known_header(listing)
    except (BlazenError, OSError):
        return None


def details_of(listing: Listing, header: GgufFile | None) -> Details:
    """Describe a model in a few words."""
    family = (header.architecture if header is not None else None) or ""
    return Details(
        parent_model="",
        format="gguf" if header is not None else listing.backend,
        family=family,
        families=[family] if family else None,
        parameter_size=_short(header.parameters) if header is not None else "",
        quantization_level=(header.quantization if header is not None else None) or "",
    )


def digest_of(listing: Listing) -> str:
    """Tell one model from another: the hash of what it is opened with, not of its weights."""
    return hashlib.sha256(f"{listing.key} {listing.size}".encode()).hexdigest()


def modified_at(header: GgufFile | None) -> str:
    """Say when a model's file was changed last."""
    try:
        seconds = header.path.stat().st_mtime if header is not None else 0.0
    except OSError:
        seconds = 0.0
    return written(seconds)


def written(seconds: float) -> str:
    """Write a time as Ollama does."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def _short(count: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.2f}".rstrip("0").rstrip(".") + unit
    return str(count)
