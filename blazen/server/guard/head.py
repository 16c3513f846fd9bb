"""The head of a request: the few headers that decide whether it is let in."""

from __future__ import annotations

from starlette.types import Scope

from blazen.server.failures import Refusal
from blazen.server.settings import ServerSettings

_WITHOUT_BODY = frozenset(("GET", "HEAD", "OPTIONS"))
_AS_JSON = (b"", b"application/x-www-form-urlencoded")


class Head:
    """What a request's headers say of it."""

    __slots__ = (
        "api_key",
        "authorization",
        "content_type",
        "encoding",
        "has_body",
        "host",
        "length",
        "origin",
        "preflight",
        "private_network",
        "site",
        "wanted_headers",
    )

    def __init__(self, scope: Scope, settings: ServerSettings) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if len(headers) > settings.max_headers:
            raise Refusal(431, f"the request has more than {settings.max_headers} headers")
        if sum(len(name) + len(value) for name, value in headers) > int(settings.max_header_bytes):
            raise Refusal(431, "the request's headers are too long")
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in found and name in (b"host", b"authorization", b"x-api-key", b"origin"):
                raise Refusal(400, f"the request has two headers {name.decode('latin-1')!r}")
            found[name] = value
        if b"content-length" in found and b"transfer-encoding" in found:
            # A proxy may believe the other one, and see another request than this server.
            raise Refusal(400, "the request gives its length and is chunked: it can't be both")
        self.host = found.get(b"host", b"").decode("latin-1")
        origin = found.get(b"origin")
        self.origin = None if origin is None else origin.decode("latin-1")
        self.site = found.get(b"sec-fetch-site", b"")
        self.authorization = found.get(b"authorization", b"")
        self.api_key = found.get(b"x-api-key", b"")
        self.content_type = found.get(b"content-type", b"").partition(b";")[0].strip().lower()
        self.encoding = found.get(b"content-encoding", b"identity").strip().lower()
        self.preflight = scope["method"] == "OPTIONS" and b"access-control-request-method" in found
        self.private_network = b"access-control-request-private-network" in found
        self.wanted_headers = found.get(b"access-control-request-headers", b"")
        length = found.get(b"content-length", b"0")
        self.length = int(length) if length.isdigit() and len(length) < 20 else 0
        self.has_body = self.length > 0 or b"transfer-encoding" in found

    @property
    def is_multipart(self) -> bool:
        """Whether it uploads files."""
        return self.content_type == b"multipart/form-data"

    @property
    def is_json(self) -> bool:
        """Whether its body is to be read as JSON; ``curl -d`` calls it a form, or nothing."""
        kind = self.content_type
        return kind in _AS_JSON or kind == b"application/json" or kind.endswith(b"+json")

    def check_body(self, settings: ServerSettings) -> None:
        """Refuse a body that could not be read, before any of it is."""
        if not self.has_body:
            return
        if self.encoding not in (b"", b"identity"):
            raise Refusal(415, "a compressed request is not taken: send it as it is")
        if not (self.is_json or self.is_multipart):
            raise Refusal(
                415,
                "a request is application/json, or multipart/form-data where it uploads files, not "
                f"{self.content_type.decode('latin-1')!r:.60}",
            )
        limit, word = self.limit(settings)
        if self.length > limit:
            raise too_large(limit, word)

    def limit(self, settings: ServerSettings) -> tuple[int, str]:
        """Give how many bytes its body may have, and which setting says so."""
        if self.is_multipart:
            return int(settings.max_upload), "max_upload"
        return int(settings.max_body), "max_body"

    def corrected(self, scope: Scope) -> None:
        """Have a body without a type read as JSON."""
        if self.has_body and self.content_type in _AS_JSON:
            headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
            scope["headers"] = [*headers, (b"content-type", b"application/json")]


def too_large(limit: int, word: str) -> Refusal:
    """Word the refusal of a body that is longer than allowed."""
    return Refusal(413, f"the request is larger than the {limit:,} bytes that are taken ({word})")


def changes_something(method: str) -> bool:
    """Say whether a method is more than a look."""
    return method not in _WITHOUT_BODY
