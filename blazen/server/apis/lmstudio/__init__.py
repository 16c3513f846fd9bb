"""LM Studio's routes."""

from __future__ import annotations

from fastapi import APIRouter

from blazen.server.apis.lmstudio import routes

router = APIRouter(prefix="/api/v0")
router.include_router(routes.router)
