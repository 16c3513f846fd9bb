"""What Google says about a failure beyond its status, in the way of ``google.rpc.Status``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from blazen.errors import AuthError, BlazenError, ContextLengthError, ProviderError

_TOO_LONG = re.compile(r"input token count \(?(\d+)\)? exceeds the maximum.*?\(?(\d+)\)?\W*$")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


def refined(error: BlazenError, told: Any) -> BlazenError:
    """Give a better error than the status alone makes, where Google says more."""
    status = _status(told)
    message = status.get("message")
    found = _TOO_LONG.search(message) if isinstance(message, str) else None
    if found is not None:
        return ContextLengthError(
            f"{error}; shorten the messages", tokens=int(found[1]), limit=int(found[2])
        )
    if not isinstance(error, ProviderError):
        return error
    for detail in _details(status):
        kind = str(detail.get("@type", "")).rpartition(".")[2]
        if kind == "RetryInfo" and error.retry_after is None:
            seconds = _SECONDS.fullmatch(str(detail.get("retryDelay", "")))
            error.retry_after = float(seconds[1]) if seconds else None
        elif kind == "ErrorInfo" and detail.get("reason") == "API_KEY_INVALID":
            return AuthError(
                f"{error}; check the key",
                provider=error.provider,
                status=error.status,
                request_id=error.request_id,
            )
    return error


def _status(told: Any) -> Mapping[str, Any]:
    inner = told.get("error") if isinstance(told, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _details(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = status.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield detail
