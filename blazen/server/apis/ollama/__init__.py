"""Ollama's routes."""

from __future__ import annotations

from fastapi import APIRouter

from blazen.server.apis.ollama import changes, chat, embed, generate, greeting, models

router = APIRouter(tags=["ollama"])
for part in (generate, chat, embed, models, changes, greeting):
    router.include_router(part.router)

__all__ = ["router"]
