"""Models as LM Studio tells of them: what they are, how they are stored, which are loaded."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from blazen.catalog import Listing
from blazen.errors import BlazenError
from blazen.server.headers import context_of, known_header
from blazen.server.service import Service
from blazen.weights.gguf import GgufFile

KINDS = {"model": "llm", "embedding": "embeddings"}
"""What LM Studio has: of other kinds it knows nothing."""


class Card(BaseModel):
    """A model."""

    id: str
    object: Literal["model"]
    type: Literal["llm", "vlm", "embeddings"]
    publisher: str
    """Who made it, as far as its name or its file says."""
    arch: str
    compatibility_type: str
    """``gguf``, or the engine's name for what it opens otherwise."""
    quantization: str
    state: Literal["loaded", "not-loaded"]
    max_context_length: int | None
    """What the model was trained for."""
    loaded_context_length: int | None = None
    """What it has at the moment."""


class Cards(BaseModel):
    """All models."""

    object: Literal["list"]
    data: list[Card]


class ModelInfo(BaseModel):
    """The model behind an answer."""

    arch: str
    quant: str
    format: str
    context_length: int | None


class Runtime(BaseModel):
    """The engine behind an answer."""

    name: str
    version: str
    supported_formats: list[str]


def card_of(service: Service, listing: Listing) -> dict[str, Any]:
    """Tell of a model; it reads its file's header."""
    header = _header(listing)
    card = {
        "id": listing.name,
        "object": "model",
        "type": "vlm" if listing.options.get("projector") else KINDS[listing.kind],
        "publisher": _publisher(listing, header),
        "arch": _architecture(header),
        "compatibility_type": _format(listing, header),
        "quantization": _quantization(header),
        "state": "not-loaded",
        "max_context_length": None if header is None else header.context_length,
    }
    if _is_loaded(service, listing.name):
        card["state"] = "loaded"
        length = context_of(listing, header)
        if length is not None:
            card["loaded_context_length"] = length
    return card


def info_of(listing: Listing) -> dict[str, Any]:
    """Tell of the model and the engine behind an answer."""
    from importlib.metadata import PackageNotFoundError, version

    header = _header(listing)
    kind = _format(listing, header)
    engine = listing.backend
    try:
        number = version(_PACKAGES.get(engine, engine))
    except PackageNotFoundError:
        number = ""
    return {
        "model_info": {
            "arch": _architecture(header),
            "quant": _quantization(header),
            "format": kind,
            "context_length": context_of(listing, header),
        },
        "runtime": {"name": engine, "version": number, "supported_formats": [kind]},
    }


_PACKAGES = {"llamacpp": "llama-cpp-python"}


def _header(listing: Listing) -> GgufFile | None:
    try:
        return known_header(listing)
    except BlazenError:
        return None  # what is wrong with the file is said when it is loaded


def _architecture(header: GgufFile | None) -> str:
    return (header.architecture if header is not None else None) or "unknown"


def _quantization(header: GgufFile | None) -> str:
    return (header.quantization if header is not None else None) or "unknown"


def _format(listing: Listing, header: GgufFile | None) -> str:
    return listing.backend if header is None else "gguf"


def _publisher(listing: Listing, header: GgufFile | None) -> str:
    said = None if header is None else header.metadata.get("general.organization")
    if isinstance(said, str) and said:
        return said
    owner, slash, _ = listing.name.partition("/")
    return owner if slash else "unknown"


def _is_loaded(service: Service, id: str) -> bool:  # noqa: A002 - the manager's word
    status = service.manager.status()
    return any(one.id == id and one.state in ("ready", "remote") for one in status.models)
