"""``/v1/rerank``: documents in the order of how well they answer a query."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from blazen.server.fields import WHOLE, Body, Flag, Text
from blazen.server.service import service_of
from blazen.server.work import while_connected

router = APIRouter()

MOST = 10_000
"""How many documents one request may have."""


class Document(Body):
    """A document, where it comes as an object."""

    text: Text


class RerankAsked(Body):
    """A query, and the documents to sort by it."""

    query: Annotated[Text, Field(min_length=1)]
    documents: Annotated[list[Text | Document], Field(min_length=1, max_length=MOST)]
    model: Text | None = None
    top_n: Annotated[int, Field(ge=1), WHOLE] | None = None
    return_documents: Flag | None = None


class RankedText(BaseModel):
    """A document of the request."""

    text: str


class Ranked(BaseModel):
    """One document's place."""

    index: int
    """Where it stood in the request, counted from 0."""
    relevance_score: float
    """From 0 to 1."""
    document: RankedText | None = None


class RerankUsed(BaseModel):
    """How many tokens were read: the query counts once for each document."""

    prompt_tokens: int
    total_tokens: int


class RerankAnswer(BaseModel):
    """The documents, the most relevant first."""

    id: str
    model: str
    results: list[Ranked]
    usage: RerankUsed


@router.post(
    "/rerank",
    response_model=RerankAnswer,
    response_model_exclude_none=True,
    tags=["embeddings"],
)
async def rerank(request: Request, body: RerankAsked) -> Any:
    """Sort documents by how well they answer a query."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "rerank")  # noqa: A001 - the manager's word
    texts = [each if isinstance(each, str) else each.text for each in body.documents]
    answer = await while_connected(
        request, service.manager.rerank(id, body.query, texts, top=body.top_n)
    )
    tokens = answer.usage.tokens if answer.usage is not None else 0
    return RerankAnswer(
        id=f"rerank-{uuid.uuid4().hex}",
        model=id,
        results=[
            Ranked(
                index=row.index,
                relevance_score=row.score,
                document=RankedText(text=row.document) if body.return_documents else None,
            )
            for row in answer.results
        ],
        usage=RerankUsed(prompt_tokens=tokens, total_tokens=tokens),
    )
