"""``/api/explorer``: a look into the file of a model of the catalogue; nothing of it is loaded."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from blazen.catalog import Listing
from blazen.errors import BlazenError, UnsupportedError
from blazen.server.apis.native.explorer import tokens, vectors
from blazen.server.apis.native.shapes import (
    FAILURES,
    Explored,
    FileFacts,
    Neighbor,
    Neighbors,
    Opener,
    PromptText,
    Tensor,
    Tokens,
    Vector,
)
from blazen.server.fields import WHOLE, Body, Text
from blazen.server.headers import context_of, header_of, template_of
from blazen.server.reading import Message, ToolBody, read_messages, read_tools
from blazen.server.service import Service, service_of
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage, Tool
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.estimate import estimate_memory

router = APIRouter(prefix="/api/explorer", responses=FAILURES)

MOST_TEXT = 20_000
"""Characters of a text that is split into tokens."""
MOST_NEIGHBORS = 1000

Name = Annotated[Text, Field(min_length=1)]


class TokenizeBody(Body):
    """A text, and the model that is to read it."""

    model: Name
    text: Annotated[Text, Field(max_length=MOST_TEXT)]


class TokenBody(Body):
    """A token of a model: its number, or its whole text."""

    model: Name
    token: Annotated[int, Field(ge=0, strict=True)] | Name


class NeighborsBody(TokenBody):
    """A token, and how many neighbours are wanted."""

    count: Annotated[int, Field(ge=1, le=MOST_NEIGHBORS), WHOLE] = 16


class PromptBody(Body):
    """A conversation, and the model whose template is to write it."""

    model: Name
    messages: list[Message]
    tools: list[ToolBody] | None = None


@router.get("/model", response_model=Explored)
async def model(request: Request, model: str | None = None) -> Explored:
    """Tell what a model's file holds: metadata, tensors, what it takes, and what opens it."""
    service = service_of(request)
    listing = await _listing(service, model)
    return await while_connected(request, asyncio.to_thread(_explored, service, listing))


@router.post("/tokenize", response_model=Tokens)
async def tokenize(request: Request, body: TokenizeBody) -> Tokens:
    """Split a text into the tokens that the model reads."""
    listing = await _listing(service_of(request), body.model)

    def work() -> Tokens:
        return Tokens(tokens=tokens.tokenize(header_of(listing), body.text))

    return await while_connected(request, asyncio.to_thread(work))


@router.post("/vector", response_model=Vector)
async def vector(request: Request, body: TokenBody) -> Vector:
    """Give the vector that stands for a token where the model begins."""
    listing = await _listing(service_of(request), body.model)

    def work() -> Vector:
        header = header_of(listing)
        token = tokens.find_token(header, body.token)
        found = vectors.Rows(header).row(token.id)
        return Vector(token=token, vector=found.tolist(), norm=vectors.norm_of(found))

    return await while_connected(request, asyncio.to_thread(work))


@router.post("/neighbors", response_model=Neighbors)
async def neighbors(request: Request, body: NeighborsBody) -> Neighbors:
    """Give the tokens whose vectors point the same way."""
    listing = await _listing(service_of(request), body.model)
    stopped = threading.Event()

    def work() -> Neighbors:
        header = header_of(listing)
        token = tokens.find_token(header, body.token)
        near = vectors.Rows(header).nearest(token.id, body.count, stopped)
        return Neighbors(
            token=token,
            neighbors=[
                Neighbor(**tokens.token_of(header, number).model_dump(), similarity=alike)
                for number, alike in near
            ],
        )

    try:
        return await while_connected(request, asyncio.to_thread(work))
    finally:
        stopped.set()  # the thread of a client that has gone ends at its next block


@router.post("/prompt", response_model=PromptText)
async def prompt(request: Request, body: PromptBody) -> PromptText:
    """Write a conversation as the model's own template does."""
    service = service_of(request)
    listing = await _listing(service, body.model)
    messages = await read_messages(body.messages, service.settings)
    given = read_tools(body.tools)
    return await while_connected(request, asyncio.to_thread(_rendered, listing, messages, given))


async def _listing(service: Service, name: str | None) -> Listing:
    """Give a model of the catalogue; no path or address is opened for a client."""
    catalog = service.open.catalog
    if name is None:
        return await asyncio.to_thread(catalog.choose, "model")
    return await asyncio.to_thread(catalog.find_known, name)


def _rendered(listing: Listing, messages: list[ChatMessage], given: tuple[Tool, ...]) -> PromptText:
    template = template_of(listing, header_of(listing))
    if template is None:
        raise UnsupportedError(
            f"{listing.name!r} has no chat template: it is a base model, which goes on with a text "
            "as it stands"
        )
    written = template.render(messages, given, media_mark="<__media__>")
    return PromptText(prompt=written, template=template.source)


def _explored(service: Service, listing: Listing) -> Explored:
    header = header_of(listing)
    metadata: dict[str, Any] = header.to_dict()["metadata"]
    return Explored(
        model=listing.name,
        kind=listing.kind,
        file=_facts(header),
        metadata=metadata,
        tensors=[
            Tensor(name=one.name, dtype=one.dtype, shape=list(one.shape), bytes=one.nbytes)
            for one in header.tensors
        ],
        estimate=_estimate(listing, header),
        backends=_openers(service, listing),
        can=_abilities(listing, header),
    )


def _facts(header: GgufFile) -> FileFacts:
    return FileFacts(
        name=header.path.name,
        size=header.size,
        version=header.version,
        byte_order=header.byte_order,
        parts=max(1, len(header.parts)),
        architecture=header.architecture,
        title=header.name,
        quantization=header.quantization,
        parameters=header.parameters,
        context_length=header.context_length,
        layers=header.block_count,
        embedding_length=header.embedding_length,
        vocabulary=header.vocab_size,
        chat_template=header.chat_template is not None,
    )


def _estimate(listing: Listing, header: GgufFile) -> dict[str, Any] | None:
    try:
        estimate = estimate_memory(header, context_length=context_of(listing, header))
    except BlazenError:  # a kind of network that nobody can say it of
        return None
    pools = {
        name: {
            "weights": pool.weights,
            "kv_cache": pool.kv_cache,
            "compute": pool.compute,
            "total": pool.total,
        }
        for name, pool in (("ram", estimate.ram), ("vram", estimate.vram))
    }
    return {
        **pools,
        "total": estimate.total,
        "layers": estimate.layers,
        "gpu_layers": estimate.gpu_layers,
        "context_length": estimate.context_length,
    }


def _openers(service: Service, listing: Listing) -> list[Opener]:
    openers = service.open.catalog.openers
    found = []
    for name in openers.able("gguf", listing.kind):
        needs = openers.missing(listing.kind, name)
        found.append(Opener(name=name, installed=needs is None, needs=needs))
    return found


def _abilities(listing: Listing, header: GgufFile) -> list[str]:
    able = ["tokenize"] if tokens.can_tokenize() else []
    if vectors.has_vectors(header):
        able += ["vector", "neighbors"]
    if listing.options.get("chat_template") or header.chat_template is not None:
        able.append("prompt")
    return able
