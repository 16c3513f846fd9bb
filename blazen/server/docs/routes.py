"""The routes of what the server says of itself."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from blazen.manager.metrics import CONTENT_TYPE
from blazen.server.failures import Refusal
from blazen.server.service import service_of

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {"docs.js": "text/javascript; charset=utf-8", "docs.css": "text/css; charset=utf-8"}
_HERE = Path(__file__).parent

router = APIRouter(tags=["server"])


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Give what happened and what there is, as Prometheus reads it."""
    service = service_of(request)
    text = service.manager.metrics() + service.counters.text()
    return Response(text, media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
@router.get("/swagger.json", include_in_schema=False)
async def document(request: Request) -> Any:
    """Give the description of all routes, in OpenAPI 3.1."""
    # Made at the first request: with all the schemas it takes a while.
    return JSONResponse(await asyncio.to_thread(request.app.openapi))


@router.get("/docs", include_in_schema=False)
async def page() -> Response:
    """Send the page that shows this description; it needs nothing from elsewhere."""
    headers = {"Content-Security-Policy": _POLICY}
    return Response(_file("docs.html"), headers=headers, media_type="text/html; charset=utf-8")


@router.get("/docs/{name}", include_in_schema=False)
async def part(name: str) -> Response:
    """Send a file of that page."""
    if name not in _TYPES:
        raise Refusal(404, f"there is no /docs/{name[:80]}")
    return Response(_file(name), media_type=_TYPES[name])


@cache
def _file(name: str) -> bytes:
    return (_HERE / name).read_bytes()
