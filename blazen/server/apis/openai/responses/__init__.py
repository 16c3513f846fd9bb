"""``/v1/responses``, with its items and typed events."""

from __future__ import annotations

from blazen.server.apis.openai.responses.routes import router as router
