"""``/health``, ``/healthz`` and ``/ready``: for whatever watches over the server."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from blazen.server.apis.native.shapes import FAILURES, Health, Readiness
from blazen.server.service import Service, service_of

router = APIRouter(responses=FAILURES)


@router.get("/health", response_model=Health)
@router.get("/healthz", response_model=Health)
async def health() -> Health:
    """Say that the server answers."""
    return Health(status="ok")


@router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}, 500: {}})
async def ready(request: Request) -> JSONResponse:
    """Say whether it can be given work: 503 while models that it is to begin with are loading."""
    service = service_of(request)
    missing = _awaited(service)
    if service.stopping:
        body = Readiness(status="stopping", waiting_for=[])
    else:
        body = Readiness(status="loading" if missing else "ready", waiting_for=missing)
    return JSONResponse(body.model_dump(), 200 if body.status == "ready" else 503)


def _awaited(service: Service) -> list[str]:
    """Name the models that were to be loaded first and never were."""
    models = service.manager.status().models
    return [
        model.id
        for model in models
        if not (model.loads or model.problem) and service.open.listing_of(model.id).preload
    ]
