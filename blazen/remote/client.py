"""One HTTP client for each event loop, closed with it."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError
from blazen.extras import need
from blazen.remote.timeouts import Timeouts
from blazen.remote.url import is_here

if TYPE_CHECKING:
    import ssl

    import httpx

_HERE = ("localhost", "127.0.0.1", "::1")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Clients:
    """HTTP clients, one for each event loop that asks; each is closed with its loop at the latest.

    A client belongs to the loop that it first worked on: used on another it fails or hangs. To drop
    this object closes them too.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._open: dict[asyncio.AbstractEventLoop, _Held] = {}

    async def get(self) -> httpx.AsyncClient:
        """Give this loop's client."""
        loop = asyncio.get_running_loop()
        held = self._open.get(loop)
        if held is not None and not held.client.is_closed:
            return held.client
        # Reading the certificates takes tens of milliseconds: not on the loop's thread.
        client = await asyncio.to_thread(self._make)
        mine = _Held(client)
        await mine.begin()
        with self._lock:
            for other in [other for other in self._open if other.is_closed()]:
                del self._open[other]
            now = self._open.get(loop)
            if now is None or now.client.is_closed:
                now = self._open[loop] = mine
        if now is not mine:  # another task of this loop was quicker
            await mine.aclose()
        return now.client

    async def aclose(self) -> None:
        """Close every client; a later request opens a new one."""
        with self._lock:
            opened, self._open = self._open, {}
        mine = opened.pop(asyncio.get_running_loop(), None)
        # To drop those of other loops closes them, each on its own loop.
        opened.clear()
        if mine is not None:
            await mine.aclose()


class _Held:
    """A client that its loop closes when it ends, or when nobody holds it any more.

    A loop that ends closes the asynchronous generators that were begun on it, and one that is
    dropped is closed by its loop: so one that only waits, and closes the client at its end, needs
    neither a task nor a word from the user.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self._waiting = _closed_at_the_end(client)

    async def begin(self) -> None:
        await self._waiting.__anext__()

    async def aclose(self) -> None:
        await self._waiting.aclose()


async def _closed_at_the_end(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


@functools.cache
def _certificates(*places: str | None) -> ssl.SSLContext:
    # To read them takes tens of milliseconds; where httpx looks for them is what is held by.
    import httpx

    return httpx.create_ssl_context()


def open_client(timeouts: Timeouts, *, extra: str, what: str, host: str | None = None) -> Any:
    """Make a client that verifies TLS, honours proxies, follows no redirect by itself.

    ``host`` is the service's own.
    """
    httpx = need("httpx", extra=extra, what=what)
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    # What stays on this machine must not go by way of a proxy, with the key in the clear.
    here = {*_HERE, host} if host and is_here(host) else {*_HERE}
    try:
        return httpx.AsyncClient(
            verify=_certificates(*(os.environ.get(name) for name in _CERTIFICATES)),
            timeout=httpx.Timeout(timeouts.idle, connect=timeouts.connect, pool=None),
            follow_redirects=False,
            headers={"User-Agent": "blazen", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            mounts={f"all://{_bracketed(name)}": None for name in here},
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise ValidationError(
            "the environment's proxies or certificates can't be used; see HTTP_PROXY, HTTPS_PROXY, "
            f"ALL_PROXY, {' and '.join(_CERTIFICATES)}: {error}"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
