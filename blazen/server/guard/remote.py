"""Pictures from the web, where that is allowed: never from this machine or a private network."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, urljoin

from blazen.errors import DownloadError, ValidationError
from blazen.offline import is_offline
from blazen.remote.url import is_private, shown, split
from blazen.server.settings import ServerSettings

_REDIRECTS = 3
_SECONDS = 30.0
_STEP_SECONDS = 10.0
_CHUNK = 64 << 10
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOVED = (301, 302, 303, 307, 308)


async def fetch_image(url: str, settings: ServerSettings) -> bytes:
    """Give the bytes behind a web address that a request names."""
    if is_offline():
        raise DownloadError(f"{shown(url)} was not fetched: this server works offline")
    return await asyncio.to_thread(_fetched, url, int(settings.max_body))


def _fetched(url: str, limit: int) -> bytes:
    end = time.monotonic() + _SECONDS
    for _ in range(_REDIRECTS + 1):
        parts = split(url)
        if parts.username is not None or parts.password is not None:
            raise ValidationError(f"{shown(url)} holds an account: leave it out")
        # Looked up once, and asked at that very address: a second look might find another.
        address = _public_address(parts)
        connection = _connection(parts, address)
        try:
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            connection.request("GET", target, headers={"User-Agent": "blazen", "Accept": "image/*"})
            response = connection.getresponse()
            if response.status in _MOVED and (place := response.headers.get("Location")):
                url = urljoin(url, place)
                continue
            if response.status != 200:
                raise DownloadError(f"{shown(url)} answered {response.status}")
            return _read(response, url, limit, end)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, (DownloadError, ValidationError)):
                raise
            raise DownloadError(
                f"{shown(url)} could not be fetched: {type(error).__name__}"
            ) from error
        finally:
            connection.close()
    raise DownloadError(f"{shown(url)} leads from one place to the next: it was given up")


def _public_address(parts: SplitResult) -> str:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DownloadError(f"{host!r:.100} is not found") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or any(_is_near(address) for address in addresses):
        raise ValidationError(
            f"{host!r:.100} is of a private network, or this machine: pictures are fetched from "
            "public places only"
        )
    return addresses[0]


def _is_near(text: str) -> bool:
    if is_private(text.partition("%")[0]):
        return True
    address = ipaddress.ip_address(text.partition("%")[0])
    if not isinstance(address, ipaddress.IPv6Address):
        return False
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner is not None and is_private(str(inner))


def _connection(parts: SplitResult, address: str) -> http.client.HTTPConnection:
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    if not secure:
        return _Pinned(address, parts.hostname or "", port, timeout=_STEP_SECONDS)
    context = ssl.create_default_context()
    return _PinnedSecure(
        address, parts.hostname or "", port, timeout=_STEP_SECONDS, context=context
    )


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever its name would lead to now."""

    def __init__(self, address: str, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedSecure(_Pinned, http.client.HTTPSConnection):
    """The same with TLS, whose certificate is checked against the name."""

    def connect(self) -> None:
        super().connect()
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


def _read(response: http.client.HTTPResponse, url: str, limit: int, end: float) -> bytes:
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise DownloadError(f"{shown(url)} is larger than the {limit:,} bytes that are taken")
        if time.monotonic() > end:
            raise DownloadError(f"{shown(url)} took longer than {_SECONDS:.0f} s")
    return bytes(body)
