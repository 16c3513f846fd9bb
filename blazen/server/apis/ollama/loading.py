"""Requests without a prompt: they only load a model, or have it go."""

from __future__ import annotations

import time
from typing import Any

from blazen.server.apis.ollama.asked import Asked
from blazen.server.apis.ollama.keeping import keep
from blazen.server.apis.ollama.talking import now
from blazen.server.service import Service


async def loaded_or_gone(
    service: Service,
    id: str,  # noqa: A002 - the manager's word
    body: Asked,
) -> dict[str, Any]:
    """Load a model; with a ``keep_alive`` of 0 have it go, once its requests have ended."""
    began = time.perf_counter_ns()
    if body.keep_alive == 0:
        await service.manager.unload(id)
        reason = "unload"
    else:
        await load(service, id, body.keep_alive)
        reason = "load"
    took = time.perf_counter_ns() - began
    return {
        "model": body.model,
        "created_at": now(),
        "done": True,
        "done_reason": reason,
        "total_duration": took,
        "load_duration": took,
    }


async def load(service: Service, id: str, keep_alive: float | None) -> None:  # noqa: A002
    """Bring a model into memory, and have it stay for so long."""
    keep(service.manager, id, None)
    async with service.manager.lease(id):
        if keep_alive is not None:
            keep(service.manager, id, keep_alive)
