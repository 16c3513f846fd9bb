"""``/v1/embeddings``: vectors of texts or of token ids, as numbers or as base64."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Discriminator, Field, Tag

from blazen.errors import UnsupportedError
from blazen.server.apis.openai.shortening import shortened
from blazen.server.failures import Refusal
from blazen.server.fields import WHOLE, Body, Text, TokenId
from blazen.server.service import service_of
from blazen.server.work import while_connected
from blazen.types.embedding import EmbeddingResponse

if TYPE_CHECKING:
    from pathlib import Path

    from blazen.server.service import Service

router = APIRouter()

MOST = 2048
"""How many texts one request may have, as in OpenAI's own API."""

Tokens = Annotated[list[TokenId], Field(min_length=1)]


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    if not isinstance(value, list):
        return None
    first = value[0] if value else ""
    return "texts" if isinstance(first, str) else "lists" if isinstance(first, list) else "tokens"


class EmbeddingAsked(Body):
    """What to embed, and how the vectors are to be written."""

    input: Annotated[
        Annotated[Text, Tag("text")]
        | Annotated[list[Text], Field(min_length=1, max_length=MOST), Tag("texts")]
        | Annotated[Tokens, Tag("tokens")]
        | Annotated[list[Tokens], Field(min_length=1, max_length=MOST), Tag("lists")],
        Discriminator(
            _kind,
            custom_error_type="input",
            custom_error_message="must be a text, a list of texts, or token ids",
        ),
    ]
    """A text, a list of texts, token ids of the model's own vocabulary, or a list of those."""
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1), WHOLE] | None = None
    user: str | None = None


class EmbeddingRow(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    """Numbers, or base64 of 32-bit floats in little-endian order."""


class EmbeddingUsed(BaseModel):
    """How many tokens were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(BaseModel):
    """A vector for each text, in order."""

    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingUsed


@router.post("/embeddings", response_model=EmbeddingAnswer, tags=["embeddings"])
async def create_embeddings(request: Request, body: EmbeddingAsked) -> Response:
    """Turn texts into vectors."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "embedding")  # noqa: A001 - the manager's word
    answer = await while_connected(request, _embed(service, id, body.input))
    path = service.open.listing_of(id).path if body.dimensions is not None else None
    # To write a thousand vectors takes a while, in which the loop serves others.
    text = await asyncio.to_thread(_written, body, id, answer, path)
    return Response(text, media_type="application/json")


async def _embed(service: Service, id: str, asked: Any) -> EmbeddingResponse:  # noqa: A002
    texts = [asked] if isinstance(asked, str) else asked
    if isinstance(texts[0], str):
        return await service.manager.embed(id, texts)
    rows = texts if isinstance(texts[0], list) else [texts]
    async with service.manager.lease(id) as model:
        embed_ids = getattr(model, "embed_ids", None)
        if embed_ids is None:
            raise UnsupportedError(
                f"the engine of {id!r} embeds texts and no token ids: send the texts themselves "
                "(with langchain's OpenAIEmbeddings: check_embedding_ctx_length=False)"
            )
        answer: EmbeddingResponse = await embed_ids(rows)
        return answer


def _written(body: EmbeddingAsked, name: str, answer: EmbeddingResponse, path: Path | None) -> str:
    vectors = answer.embeddings
    if body.dimensions is not None and body.dimensions != vectors.dimensions:
        try:
            vectors = shortened(vectors, body.dimensions, name, path)
        except UnsupportedError as error:
            raise Refusal(
                400, str(error), param="dimensions", code="unsupported_parameter"
            ) from error
    rows: list[list[float]] | list[str]
    if body.encoding_format == "base64":
        packed = base64.b64decode(vectors.to_dict()["values"])
        size = vectors.dimensions * 4
        rows = [
            base64.b64encode(packed[at : at + size]).decode("ascii")
            for at in range(0, len(packed), size)
        ]
    else:
        rows = vectors.tolist()
    tokens = answer.usage.tokens if answer.usage is not None else 0
    return json.dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": row}
                for index, row in enumerate(rows)
            ],
            "model": name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        allow_nan=False,
    )
