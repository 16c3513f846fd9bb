"""A question to a running ``blazen serve``, and what its silence or its refusal means."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from blazen.cli.failures import Failure
from blazen.errors import ValidationError

SECONDS = 10.0
UNREACHED = 5
"""How the program ends where a server does not give what it was asked for."""
_LARGEST = 16 << 20
_HERE = ("127.0.0.1", "::1", "localhost")


def ask_server(url: str, path: str, *, key: str | None = None, ca: Path | None = None) -> Any:
    """Give the JSON object that a server answers with."""
    parts = _checked(url)
    headers = {"Accept": "application/json"}
    if key:
        if not key.isascii() or not key.isprintable():
            raise ValidationError("the key has characters that no header can carry")
        headers["Authorization"] = f"Bearer {key}"
    whole = url.rstrip("/") + path
    try:
        request = Request(whole, headers=headers)  # noqa: S310 - the scheme was checked
        with _opener(parts.hostname or "", ca).open(request, timeout=SECONDS) as response:
            body = response.read(_LARGEST + 1)
    except HTTPError as error:
        with error:
            raise _refused(error, url) from error
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ConnectionRefusedError):
            raise Failure(
                f"no server runs at {url}: 'blazen serve' starts one", UNREACHED
            ) from error
        raise Failure(f"{url} does not answer: {reason}", UNREACHED) from error
    try:
        answer = json.loads(body) if len(body) <= _LARGEST else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Failure(f"what answers at {url} is no blazen server: {body[:60]!r}", UNREACHED)
    return answer


def _checked(url: str) -> Any:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isprintable() or " " in url:
        raise ValidationError(f"--url takes a URL such as http://127.0.0.1:8642, not {url!r:.80}")
    return parts


def _refused(error: HTTPError, url: str) -> Exception:
    if error.code in (401, 403):
        return Failure(f"{url} wants its key: --key KEY, or $BLAZEN_API_KEY", UNREACHED)
    if error.code == 404:
        what = f"what answers at {url} is no blazen server: it has no /api/models"
        return Failure(what, UNREACHED)
    return Failure(f"{url} answered {error.code} {error.reason}", UNREACHED)


def _opener(host: str, ca: Path | None) -> Any:
    # A proxy of the environment is not for what runs on this machine.
    handlers: list[Any] = [_NoRedirects()]
    if host in _HERE:
        handlers.append(ProxyHandler({}))
    if ca is not None:
        try:
            context = ssl.create_default_context(cafile=str(ca))
        except (ssl.SSLError, OSError) as error:
            raise ValidationError(f"{ca} is no certificate: {error}") from error
        handlers.append(HTTPSHandler(context=context))
    return build_opener(*handlers)


class _NoRedirects(HTTPRedirectHandler):
    """Follows nowhere: the key is for this server alone."""

    def redirect_request(self, *given: Any, **more: Any) -> None:
        """Give no new request."""
        return
