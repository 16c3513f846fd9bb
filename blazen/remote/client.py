"""One HTTP client for each event loop, closed with it."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError
from blazen.extras import need
from blazen.remote.timeouts import Timeouts
from blazen.remote.url import is_here

if TYPE_CHECKING:
    import ssl

    import httpx2

_HERE = ("localhost", "127.0.0.1", "::1")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Clients:
    """HTTP clients, one for each event loop that asks; each is closed with its loop at the latest.

    A client belongs to the loop that it first worked on: used on another it fails or hangs. To drop
    this object closes them too.
    """

    def __init__(self, make: Callable[[], httpx2.AsyncClient]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._open: dict[asyncio.AbstractEventLoop, _Held] = {}
        self._turns: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        # Not for this object alone to hold: dropped together with it, by the garbage collector,
        # sockets would complain before they could be closed.
        weakref.finalize(self, self._open.clear).atexit = False

    async def get(self) -> httpx2.AsyncClient:
        """Give this loop's client."""
        loop = asyncio.get_running_loop()
        held = self._open.get(loop)
        if held is not None and not held.client.is_closed:
            return held.client
        with self._lock:
            turn = self._turns.setdefault(loop, asyncio.Lock())
        # To make one takes long: of many requests that come at once, only the first makes it.
        async with turn:
            held = self._open.get(loop)
            if held is None or held.client.is_closed:
                held = await self._made(loop)
        return held.client

    async def _made(self, loop: asyncio.AbstractEventLoop) -> _Held:
        # Reading the certificates takes tens of milliseconds: not on the loop's thread.
        held = _Held(await asyncio.to_thread(self._make))
        await held.begin()
        with self._lock:
            for other in [other for other in self._open if other.is_closed()]:
                del self._open[other]
            # A lock that was waited for holds its loop. Whoever comes now finds the client.
            self._turns = {
                other: turn
                for other, turn in self._turns.items()
                if other is not loop and not other.is_closed()
            }
            self._open[loop] = held
        return held

    async def aclose(self) -> None:
        """Close every client; a later request opens a new one."""
        with self._lock:
            opened = dict(self._open)
            self._open.clear()
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

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self._waiting = _closed_at_the_end(client)

    async def begin(self) -> None:
        await self._waiting.__anext__()

    async def aclose(self) -> None:
        await self._waiting.aclose()


async def _closed_at_the_end(client: httpx2.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


@functools.cache
def _certificates(*places: str | None) -> ssl.SSLContext:
    # To read them takes tens of milliseconds; where httpx2 looks for them is what is held by.
    import httpx2

    return httpx2.create_ssl_context()


def open_client(
    timeouts: Timeouts,
    *,
    extra: str,
    what: str,
    host: str | None = None,
    kind: type[httpx2.AsyncClient] | None = None,
    connections: int | None = 100,
) -> Any:
    """Make a client that verifies TLS, honours proxies, follows no redirect by itself.

    ``host`` is the service's own; ``kind`` is the class of the client; ``connections`` is how many
    there may be at once, ``None`` for any number.
    """
    httpx2 = need("httpx2", extra=extra, what=what)
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    # What stays on this machine must not go by way of a proxy, with the key in the clear.
    here = {*_HERE, host} if host and is_here(host) else {*_HERE}
    try:
        return (kind or httpx2.AsyncClient)(
            verify=_certificates(*(os.environ.get(name) for name in _CERTIFICATES)),
            timeout=httpx2.Timeout(timeouts.idle, connect=timeouts.connect, pool=None),
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=20),
            follow_redirects=False,
            headers={"User-Agent": "blazen", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            mounts={f"all://{_bracketed(name)}": None for name in here},
        )
    except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        raise ValidationError(
            "the environment's proxies or certificates can't be used; see HTTP_PROXY, HTTPS_PROXY, "
            f"ALL_PROXY, {' and '.join(_CERTIFICATES)}: {error}"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
