"""``/v1/audio``: speech becomes text, and text speech."""

from __future__ import annotations

from fastapi import APIRouter

from blazen.server.apis.openai.audio import speech, transcriptions

router = APIRouter(prefix="/audio", tags=["audio"])
router.include_router(transcriptions.router)
router.include_router(speech.router)
