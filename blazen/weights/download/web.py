"""One HTTP request over the standard library: TLS checked, proxies honoured, secrets kept home."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from blazen.errors import DownloadError, ModelNotFoundError
from blazen.weights.target import public_url

if TYPE_CHECKING:
    from http.client import HTTPResponse

FIRST_PAUSE = 0.5
"""Seconds before the first retry; each further one waits twice as long."""
_LONGEST_PAUSE = 60.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_SIGNED_IN = ("authorization", "cookie", "proxy-authorization")


class Transient(Exception):
    """What may work when it is tried again; never leaves this package."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


@contextlib.contextmanager
def opened(url: str, headers: dict[str, str], timeout: float) -> Iterator[HTTPResponse]:
    """Ask for a URL, and give the response while its body can be read."""
    import http.client
    import urllib.error
    import urllib.request

    address, account = _split_account(url)
    asked = {"User-Agent": "blazen", "Accept-Encoding": "identity"} | account | headers
    request = urllib.request.Request(address, headers=asked)  # noqa: S310 - http(s) only, see Target
    opener = urllib.request.build_opener(_redirects())
    try:
        response = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(public_url(url), error.code, error.headers) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error
    with response:
        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            raise DownloadError(f"{public_url(url)} comes compressed ({coding}): ask for the file")
        yield response


def read(response: HTTPResponse, size: int) -> bytes:
    """Read what has come, up to a size; nothing is the end."""
    import http.client

    try:
        return response.read1(size)
    except (OSError, ValueError, http.client.HTTPException) as error:
        # http.client answers a connection cut inside a chunk's header with a ValueError.
        raise Transient(f"the connection was lost ({_reason(error)})") from error


def length(response: HTTPResponse) -> int | None:
    """Give how long the body is, where the server said so."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def content_range(response: HTTPResponse) -> tuple[int | None, int | None]:
    """Give where a part starts, and how long the whole is, where the server said so."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if match is None:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def validator(response: HTTPResponse) -> str | None:
    """Give the server's mark of this version of the file; only a strong one serves."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return str(etag)
    modified = response.headers.get("Last-Modified")
    return str(modified) if modified else None


def pause(failures: int, retry_after: float | None, check: Callable[[], None]) -> None:
    """Wait before the next attempt; ``check`` may raise to end the wait."""
    seconds = FIRST_PAUSE * 2 ** (failures - 1) if retry_after is None else retry_after
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(0.1, left))
        check()


def refusal(shown: str, status: int, headers: Any) -> Exception:
    """Give the error for what a server refused, or `Transient` where another try may help."""
    if status in (401, 403):
        return DownloadError(
            f"{shown} is not open to everybody ({status}): accept the model's conditions on its "
            "page if it is gated, and give a token (headers={'Authorization': 'Bearer …'} for a "
            "URL, HF_TOKEN for the hub)"
        )
    if status in (404, 410):
        return ModelNotFoundError(f"there is no {shown} ({status}): check the address")
    if 300 <= status < 400:
        return DownloadError(f"{shown} leads to a place that blazen does not follow ({status})")
    if status == 416:
        return Transient("the server has no such part of the file", status=status)
    if status in _PASSING:
        wait = _retry_after(headers.get("Retry-After"))
        if wait is not None and wait > _LONGEST_PAUSE:
            return DownloadError(f"{shown} asks to come back in {wait:.0f} seconds ({status})")
        return Transient(f"the server answered {status}", status=status, retry_after=wait)
    return DownloadError(f"{shown} can't be fetched: the server answered {status}")


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _unreachable(url: str, error: Exception) -> Exception:
    import socket
    import ssl

    reason = getattr(error, "reason", error)
    shown = public_url(url)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f"{shown} shows a certificate that is not trusted ({reason.verify_message}): if your "
            "network has its own authority, name its file in SSL_CERT_FILE"
        )
    if isinstance(reason, (socket.gaierror, ConnectionRefusedError)):
        return DownloadError(
            f"no network to {urlsplit(shown).netloc} ({_reason(reason)}): check the connection and "
            "the proxy settings, or work offline with what is cached (BLAZEN_OFFLINE=1)"
        )
    return Transient(f"the connection failed ({_reason(reason)})")


def _reason(error: object) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _split_account(url: str) -> tuple[str, dict[str, str]]:
    """Move user and password into a header: they must not travel in the address."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))
    headers = {}
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
    return quote(address, safe=":/?#[]@!$&'()*+,;=%~"), headers


def _redirects() -> Any:
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(
            self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
        ) -> urllib.request.Request | None:
            old, new = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
            if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
                fp.close()
                raise DownloadError(
                    f"{public_url(req.full_url)} leads to {public_url(newurl)}, which is less "
                    "safe: blazen does not follow it"
                )
            followed = super().redirect_request(req, fp, code, msg, headers, newurl)
            if followed is not None and old[:2] != new[:2]:
                # A token is for the one who asked for it, never for the storage behind it.
                for name in [key for key in followed.headers if key.lower() in _SIGNED_IN]:
                    followed.remove_header(name)
            return followed

    return Redirects()
