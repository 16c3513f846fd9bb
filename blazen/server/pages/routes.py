"""The routes of the pages and of their files."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from blazen.server.pages.site import File, site

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text ever becomes markup or code: a browser that knows these words refuses it.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the pages may do: nothing inline, and nothing from elsewhere."""

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_READ = ["GET", "HEAD"]

router = APIRouter(include_in_schema=False)


@router.api_route("/favicon.ico", methods=_READ)
async def favicon() -> Response:
    """Lead to the picture that browsers show beside the title."""
    return RedirectResponse("static/logo.svg", 307)


@router.api_route("/chat", methods=_READ)
async def chat(request: Request) -> Response:
    """Send the chat; ``/chat?expert`` leads to the page for experts."""
    if "expert" in request.query_params:
        return RedirectResponse("expert", 307)
    return _page(request, "chat")


@router.api_route("/expert", methods=_READ)
async def expert(request: Request) -> Response:
    """Send the page that shows prompts, tokens and times."""
    return _page(request, "expert")


@router.api_route("/explorer", methods=_READ)
async def explorer(request: Request) -> Response:
    """Send the page that looks into a model's file."""
    return _page(request, "explorer")


@router.api_route("/models", methods=_READ)
async def models(request: Request) -> Response:
    """Send the page that shows the manager live."""
    return _page(request, "models")


@router.api_route("/studio", methods=_READ)
async def studio(request: Request) -> Response:
    """Send the page for sound, pictures and meshes."""
    return _page(request, "studio")


@router.api_route("/static/{version}/{name}", methods=_READ)
async def kept_file(request: Request, version: str, name: str) -> Response:
    """Send a file that the browser keeps: another version of it has another address."""
    found = site().files.get(name) if version == site().version else None
    return _send(request, found, _FOR_EVER)


@router.api_route("/static/{name}", methods=_READ)
async def file(request: Request, name: str) -> Response:
    """Send a file that the browser asks for again by its ETag."""
    return _send(request, site().files.get(name), _ASK_AGAIN)


def _page(request: Request, name: str) -> Response:
    policy = {
        "Content-Security-Policy": POLICY,
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return _send(request, site().pages[name], _ASK_AGAIN, policy)


def _send(
    request: Request, found: File | None, keep: str, more: dict[str, str] | None = None
) -> Response:
    if found is None:
        return Response("There is no such file.", 404, _SAFE, "text/plain; charset=utf-8")
    headers = {**_SAFE, **(more or {}), "ETag": found.etag, "Cache-Control": keep}
    if _has(request, found.etag):
        return Response(status_code=304, headers=headers)
    return Response(found.body, 200, headers, found.type)


def _has(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given.split(","))
