"""blazen's own routes: the manager live, meshes, a look into models, and a plain ``/generate``."""

from __future__ import annotations

from fastapi import APIRouter

from blazen.server.apis.native import explorer, generate, health, mesh, models

router = APIRouter()
for part, tag in (
    (generate.router, "generate"),
    (health.router, "health"),
    (models.router, "models"),
    (mesh.router, "mesh"),
    (explorer.router, "explorer"),
):
    router.include_router(part, tags=[tag])

__all__ = ["router"]
