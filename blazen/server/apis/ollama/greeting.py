"""``/``: what clients of Ollama ask first, to hear whether somebody is there."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from blazen.server.service import service_of

router = APIRouter(include_in_schema=False)


@router.head("/")
async def is_there() -> Response:
    """Say that somebody is there."""
    return Response()


@router.get("/")
async def greet(request: Request) -> Response:
    """Say so in words; where there are pages, lead to them."""
    if service_of(request).settings.pages:
        return RedirectResponse("chat", 307)
    return PlainTextResponse("blazen is running")
