"""The key that clients send, compared so that its time tells nothing."""

from __future__ import annotations

import hashlib
import hmac

from blazen.remote.secret import Secret

_OPEN = frozenset(
    (
        "/",
        "/chat",
        "/expert",
        "/explorer",
        "/models",
        "/studio",
        "/favicon.ico",
        "/docs",
        "/openapi.json",
        "/swagger.json",
        "/health",
        "/healthz",
        "/ready",
    )
)
"""What tells nothing of anyone: pages ask for the key themselves, and probes have none."""


def is_open(path: str) -> bool:
    """Say whether a path is answered without a key."""
    return path in _OPEN or path.startswith(("/static/", "/docs/"))


class Key:
    """Checks what a request carries against the server's key."""

    def __init__(self, key: Secret | None) -> None:
        self._digest = None if key is None else _digest(key.reveal().encode("ascii"))

    def fits(self, authorization: bytes, api_key: bytes) -> bool:
        """Say whether one of the two headers carries the key, or none is asked for."""
        if self._digest is None:
            return True
        scheme, _, bearer = authorization.partition(b" ")
        given = bearer.strip() if scheme.lower() == b"bearer" else b""
        # Both are compared, whatever the first says.
        first = hmac.compare_digest(_digest(given), self._digest)
        second = hmac.compare_digest(_digest(api_key.strip()), self._digest)
        return first or second


def _digest(value: bytes) -> bytes:
    # Of one length, so that the key's own does not show.
    return hashlib.sha256(value).digest()
