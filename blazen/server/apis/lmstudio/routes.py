"""``/api/v0``: LM Studio's own routes, which tell more than OpenAI's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from blazen.errors import ModelNotFoundError
from blazen.server.apis.lmstudio.cards import (
    KINDS,
    Card,
    Cards,
    ModelInfo,
    Runtime,
    card_of,
    info_of,
)
from blazen.server.apis.openai.answers import EVENTS
from blazen.server.apis.openai.chat import Extras, answer_chat
from blazen.server.apis.openai.chat_asked import ChatBody
from blazen.server.apis.openai.chat_shapes import ChatAnswer
from blazen.server.apis.openai.completions import answer_completion
from blazen.server.apis.openai.completions_asked import CompletionAnswer, CompletionBody
from blazen.server.apis.openai.embeddings import (
    EmbeddingAnswer,
    EmbeddingAsked,
    create_embeddings,
)
from blazen.server.service import Service, service_of
from blazen.types.completion import FinishReason, ModelResponse

router = APIRouter()


class Stats(BaseModel):
    """How an answer went, in seconds; what the engine does not tell is ``null``."""

    tokens_per_second: float | None
    time_to_first_token: float | None
    generation_time: float | None
    stop_reason: Literal["eosFound", "maxPredictedTokensReached", "toolCalls", "failed"]


class ToldChat(ChatAnswer):
    """The answers to a conversation, and how they came about."""

    stats: Stats
    model_info: ModelInfo
    runtime: Runtime


class ToldCompletion(CompletionAnswer):
    """The texts that a model wrote, and how they came about."""

    stats: Stats
    model_info: ModelInfo
    runtime: Runtime


@router.get("/models", response_model=Cards, response_model_exclude_unset=True, tags=["lmstudio"])
async def list_cards(request: Request) -> dict[str, Any]:
    """Tell of all chat and embedding models."""
    service = service_of(request)
    listings = [one for one in service.open.listings() if one.kind in KINDS]
    cards = await asyncio.to_thread(lambda: [card_of(service, one) for one in listings])
    return {"object": "list", "data": cards}


@router.get(
    "/models/{model:path}",
    response_model=Card,
    response_model_exclude_unset=True,
    tags=["lmstudio"],
)
async def retrieve_card(request: Request, model: str) -> dict[str, Any]:
    """Tell of one model."""
    service = service_of(request)
    listing = await asyncio.to_thread(service.open.catalog.find_known, model)
    if listing.kind not in KINDS:
        raise ModelNotFoundError(f"{model!r:.200} is neither a chat model nor an embedding model")
    return await asyncio.to_thread(card_of, service, listing)


@router.post("/chat/completions", response_model=ToldChat, responses=EVENTS, tags=["lmstudio"])
async def chat(request: Request, body: ChatBody) -> Response:
    """Answer a conversation as ``/v1/chat/completions`` does, and tell how it went."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "model")  # noqa: A001 - the manager's word
    return await answer_chat(request, service, id, body, await _extras(service, id))


@router.post("/completions", response_model=ToldCompletion, responses=EVENTS, tags=["lmstudio"])
async def completion(request: Request, body: CompletionBody) -> Response:
    """Go on from texts as ``/v1/completions`` does, and tell how it went."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "model")  # noqa: A001 - the manager's word
    return await answer_completion(request, service, id, body, await _extras(service, id))


@router.post("/embeddings", response_model=EmbeddingAnswer, tags=["lmstudio"])
async def embeddings(request: Request, body: EmbeddingAsked) -> Response:
    """Turn texts into vectors, as ``/v1/embeddings`` does."""
    return await create_embeddings(request, body)


async def _extras(service: Service, id: str) -> Extras:  # noqa: A002 - the manager's word
    about = await asyncio.to_thread(info_of, service.open.listing_of(id))
    return lambda answers: {"stats": _stats(answers), **about}


_STOPPED = {
    FinishReason.Length: "maxPredictedTokensReached",
    FinishReason.ToolCalls: "toolCalls",
    FinishReason.ContentFilter: "failed",
}


def _stats(answers: Sequence[ModelResponse]) -> dict[str, Any]:
    first = answers[0]
    timing = first.timing
    reason = first.finish_reason or FinishReason.Stop
    return {
        "tokens_per_second": None if timing is None else timing.tokens_per_second,
        "time_to_first_token": None if timing is None else timing.first_token,
        "generation_time": None if timing is None else timing.decode,
        "stop_reason": _STOPPED.get(reason, "eosFound"),
    }
