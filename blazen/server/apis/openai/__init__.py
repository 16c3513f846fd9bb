"""OpenAI's routes."""

from __future__ import annotations

from fastapi import APIRouter

from blazen.server.apis.openai import (
    audio,
    chat,
    completions,
    embeddings,
    images,
    models,
    rerank,
    responses,
)

router = APIRouter(prefix="/v1")
for module in (models, chat, completions, responses, embeddings, rerank, audio, images):
    router.include_router(module.router)
