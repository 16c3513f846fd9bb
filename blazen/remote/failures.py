"""From what a server answers, or does not, to the error that a caller sees."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from blazen.errors import (
    AuthError,
    BlazenError,
    ContextLengthError,
    ProviderError,
    RateLimitError,
    TimeoutError,  # noqa: A004 - the name that users expect
)
from blazen.remote.lengths import too_long
from blazen.remote.retry import is_distrust, retry_after
from blazen.remote.timeouts import Timeouts

_REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "x-ms-request-id", "cf-ray")
_TEXTS = ("message", "detail", "error_message", "error_description", "reason", "msg", "title")
_LONGEST = 300
_DEEPEST = 8
_READ = 4096

# Words by which services name a failure in a body whose status says that all is well.
_MEANINGS = (
    (re.compile(r"overloaded", re.IGNORECASE), 529),
    (re.compile(r"rate.?limit|too.?many.?requests", re.IGNORECASE), 429),
    (re.compile(r"authenti|unauthori[sz]ed|api.?key", re.IGNORECASE), 401),
    (re.compile(r"permission|forbidden", re.IGNORECASE), 403),
    (re.compile(r"(internal|server)_?error|\bapi_error", re.IGNORECASE), 500),
)


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str,
    where: str,
    hide: Callable[[str], str] = str,
    had_key: bool = True,
) -> BlazenError:
    """Give the error for an answer whose status says that it is one.

    ``hide`` takes the key out of what the server says; ``had_key`` says that it was sent at all.
    """
    told = _parsed(body)
    said = said_in(told)
    if not said and not _is_html(headers):
        said = body.decode("utf-8", "replace").strip()
    length = too_long(told, said[:_READ]) if status in (400, 413, 422) else None
    if length is not None:
        return _length(length, said, where=where, hide=hide)
    return _error(status, headers, said, provider=provider, where=where, hide=hide, had_key=had_key)


def failure_inside(
    answer: Any,
    headers: Mapping[str, str],
    *,
    provider: str,
    where: str,
    hide: Callable[[str], str] = str,
    status: int = 200,
) -> BlazenError:
    """Give the error that a body tells of, although its status said nothing.

    ``status`` becomes the one that the body names or means, where that is to be known.
    """
    inner = answer.get("error") if isinstance(answer, Mapping) else None
    for holder in (inner, answer):
        if isinstance(holder, Mapping):
            status = _status_in(holder) or status
            if status >= 400:
                break
    said = said_in(answer)
    length = too_long(answer, said[:_READ])
    if length is not None:
        return _length(length, said, where=where, hide=hide)
    return _error(status, headers, said, provider=provider, where=where, hide=hide)


def failure_of_job(
    answer: Any,
    headers: Mapping[str, str],
    *,
    provider: str,
    where: str,
    hide: Callable[[str], str] = str,
) -> ProviderError:
    """Give the error for work that was begun and failed.

    It has the status of the answer that tells of it, whatever it says: to begin the work once more
    is for the caller to decide.
    """
    return _error(200, headers, said_in(answer), provider=provider, where=where, hide=hide)


def broken(
    error: Exception,
    timeouts: Timeouts,
    *,
    provider: str,
    where: str,
    known_as: str | None,
    hide: Callable[[str], str],
) -> ProviderError | TimeoutError:
    """Give the error for a request that got no answer, or only a part of one.

    ``error`` is the HTTP client's own. It loses its tracebacks: the variables in them hold the
    request as it was sent, with its key.
    """
    import httpx2

    stripped(error)
    if isinstance(error, httpx2.ConnectTimeout):
        return TimeoutError(
            f"{where} did not accept a connection within {timeouts.connect:g} s: check base_url, "
            "or raise timeouts.connect"
        )
    if isinstance(error, httpx2.TimeoutException):
        return TimeoutError(
            f"{where} was silent for {timeouts.idle:g} s: raise timeouts.idle if it takes that long"
        )
    what = "broke the connection off"
    if is_distrust(error):
        what = (
            "shows a certificate that is not trusted here; see that this machine has its own "
            "(ca-certificates), or name a file with more in SSL_CERT_FILE"
        )
    elif isinstance(error, (httpx2.ConnectError, httpx2.ProxyError)):
        what = "could not be reached; check base_url, the network and its proxies"
    elif isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError)):
        what = "is no URL that can be asked"
    elif isinstance(error, httpx2.DecodingError):
        what = "sends what can't be read"
    reason = shortened(hide(str(error))) or type(error).__name__
    return ProviderError(f"{where} {what}: {reason}", provider=provider, request_id=known_as)


def network_errors() -> tuple[type[Exception], ...]:
    """Give what an HTTP client may raise for a connection, or for what comes over it."""
    import anyio
    import httpx2

    return (
        httpx2.HTTPError,
        httpx2.StreamError,
        httpx2.InvalidURL,
        anyio.ClosedResourceError,
        anyio.BrokenResourceError,
        anyio.EndOfStream,
        OSError,
        UnicodeError,
    )


def stripped(error: BaseException) -> BaseException:
    """Give an error without its tracebacks: their variables hold the request with its key."""
    below: BaseException | None = error
    while below is not None:
        below.__traceback__ = None
        below = below.__cause__ or below.__context__
    return error


def is_break(error: BlazenError) -> bool:
    """Say whether an error is about the connection, and not about what came over it."""
    import httpx2

    return isinstance(error.__cause__, httpx2.TransportError)


def said_in(answer: Any, depth: int = 0) -> str:
    """Give what an answer in JSON says about an error; empty where it says nothing."""
    if isinstance(answer, str):
        return answer.strip()
    if depth == _DEEPEST:
        return ""
    if isinstance(answer, list):
        return "; ".join(filter(None, (said_in(item, depth + 1) for item in answer[:5])))
    if not isinstance(answer, Mapping):
        return ""
    for key in ("error", "errors", "task_error", *_TEXTS, "code", "type"):
        said = said_in(answer.get(key), depth + 1)
        if said:
            return said
    return ""


def shortened(text: str) -> str:
    """Give what a server says in a line of a message."""
    start = text[: 4 * _LONGEST]
    clean = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in start)).strip()
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def request_id(headers: Mapping[str, str], hide: Callable[[str], str] = str) -> str | None:
    """Give the name under which the server knows the request."""
    return next((hide(headers[name])[:200] for name in _REQUEST_IDS if headers.get(name)), None)


def _length(
    length: tuple[int | None, int | None], said: str, *, where: str, hide: Callable[[str], str]
) -> ContextLengthError:
    tokens, limit = length
    text = shortened(hide(said)) or "it is longer than the model's context"
    return ContextLengthError(
        f"{where} can't take a prompt of this length: {text}; give fewer or shorter messages",
        tokens=tokens,
        limit=limit,
    )


def _error(
    status: int,
    headers: Mapping[str, str],
    said: str,
    *,
    provider: str,
    where: str,
    hide: Callable[[str], str],
    had_key: bool = True,
) -> ProviderError:
    kind, advice = ProviderError, ""
    if status in (401, 403) and had_key:
        kind = AuthError
        advice = "; check the key" if status == 401 else "; the key may not do this"
    elif status == 429:
        kind, advice = RateLimitError, "; make fewer requests, or ask for a higher limit"
        wait = retry_after(headers)
        advice += "" if wait is None else f"; it may be asked again in {wait:g} s"
    elif status == 404:
        advice = "; check base_url, path and model"
    text = shortened(hide(said))
    what = "reports a failure" if status == 200 else f"answered {status}"
    return kind(
        f"{where} {what}: {text or 'it gives no reason'}{advice}",
        provider=provider,
        status=status,
        request_id=request_id(headers, hide),
        retry_after=retry_after(headers),
    )


def _status_in(holder: Mapping[str, Any]) -> int | None:
    for key in ("status", "status_code", "code", "http_code"):
        value = holder.get(key)
        if isinstance(value, str) and re.fullmatch(r"[45][0-9]{2}", value):
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    values = (holder.get(key) for key in ("type", "code", "error"))
    words = " ".join(value for value in values if isinstance(value, str))
    return next((status for pattern, status in _MEANINGS if pattern.search(words)), None)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_html(headers: Mapping[str, str]) -> bool:
    return "html" in headers.get("content-type", "").lower()
