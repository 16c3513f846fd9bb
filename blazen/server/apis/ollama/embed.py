"""``/api/embed`` and ``/api/embeddings``: vectors of texts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from blazen.server.apis.ollama.asked import Asked, EmbedBody, EmbeddingsBody
from blazen.server.apis.ollama.keeping import keep
from blazen.server.apis.ollama.loading import load
from blazen.server.apis.ollama.names import id_of
from blazen.server.apis.ollama.settings import read_options
from blazen.server.apis.ollama.shapes import FAILURES, EmbedAnswer, EmbeddingsAnswer
from blazen.server.apis.openai.shortening import shortened
from blazen.server.refusals import RefusedError
from blazen.server.service import Service, service_of
from blazen.server.streaming import to_json
from blazen.server.work import while_connected
from blazen.types.embedding import EmbeddingResponse

router = APIRouter(responses=FAILURES)

MOST = 2048
"""How many texts one request may have."""


@router.post("/api/embed", response_model=EmbedAnswer)
async def embed(request: Request, body: EmbedBody) -> Response:
    """Give a vector for each text."""
    service = service_of(request)
    id = await id_of(service, body.model, "embedding")  # noqa: A001 - the manager's word
    texts = [body.input] if isinstance(body.input, str) else list(body.input or ())
    if len(texts) > MOST:
        raise RefusedError(f"input has {len(texts)} texts, and may have {MOST}", param="input")
    await read_options(body.options, service.open.listing_of(id))
    began = time.perf_counter_ns()
    answer, loading = await while_connected(request, _embedded(service, id, body, texts))
    if body.truncate is False and answer is not None and answer.usage is not None:
        _expect_whole(answer.usage.truncated)
    done = await asyncio.to_thread(_written, service, id, body, answer)
    done["total_duration"] = time.perf_counter_ns() - began
    done["load_duration"] = loading
    return Response(await asyncio.to_thread(to_json, done), media_type="application/json")


@router.post("/api/embeddings", response_model=EmbeddingsAnswer)
async def embeddings(request: Request, body: EmbeddingsBody) -> Response:
    """Give the vector of one text, as older clients ask for it."""
    service = service_of(request)
    id = await id_of(service, body.model, "embedding")  # noqa: A001 - the manager's word
    await read_options(body.options, service.open.listing_of(id))
    texts = [body.prompt] if body.prompt else []
    answer, _ = await while_connected(request, _embedded(service, id, body, texts))
    vector = [] if answer is None else list(answer.embeddings[0])
    return Response(to_json({"embedding": vector}), media_type="application/json")


async def _embedded(
    service: Service,
    id: str,  # noqa: A002
    body: Asked,
    texts: list[str],
) -> tuple[EmbeddingResponse | None, int]:
    """Embed texts; without any, only load the model."""
    began = time.perf_counter_ns()
    if not texts and body.keep_alive == 0:
        await service.manager.unload(id)
        return None, 0
    if not texts:
        await load(service, id, body.keep_alive)
        return None, time.perf_counter_ns() - began
    keep(service.manager, id, None)
    async with service.manager.lease(id):
        loading = time.perf_counter_ns() - began
        answer = await service.manager.embed(id, texts)
        if body.keep_alive is not None:
            keep(service.manager, id, body.keep_alive)
    return answer, loading


def _written(
    service: Service,
    id: str,  # noqa: A002
    body: EmbedBody,
    answer: EmbeddingResponse | None,
) -> dict[str, Any]:
    rows: list[list[float]] = []
    if answer is not None:
        vectors = answer.embeddings
        if body.dimensions is not None and body.dimensions != vectors.dimensions:
            path = service.open.listing_of(id).path
            vectors = shortened(vectors, body.dimensions, id, path)
        rows = vectors.tolist()
    usage = answer.usage if answer is not None else None
    tokens = usage.tokens if usage is not None else 0
    return {"model": body.model, "embeddings": rows, "prompt_eval_count": tokens}


def _expect_whole(truncated: int) -> None:
    if truncated:
        raise RefusedError(
            f"{truncated} of the texts are longer than the model reads, and truncate is false: "
            "shorten them, or let them be truncated",
            param="input",
        )
