"""The body of an answer as it comes, a piece at a time, and no piece of it huge."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from blazen.errors import TimeoutError  # noqa: A004 - the name that users expect
from blazen.remote.failures import network_errors
from blazen.remote.timeouts import Deadline

if TYPE_CHECKING:
    import httpx2

_ERROR_BYTES = 64 * 1024
_ERROR_SECONDS = 5.0
_PIECE = 256 * 1024
_PLAIN = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")


async def pieces(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """Give the body as it comes; close what this gives, and the response.

    Nothing packed was asked for, but some stores send a file only as it lies there. It is unpacked
    here, for the client would do that to the end at once: a few bytes may be gigabytes.
    """
    import httpx2

    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in (*_PLAIN, *_PACKED):
        raise httpx2.DecodingError(f"it is packed as {packed!r:.40}, which was not asked for")
    unpack = None if packed in _PLAIN else _Unpacking()
    async with aclosing(response.aiter_raw()) as incoming:
        async for piece in incoming:
            if unpack is None:
                yield piece
                continue
            for part in unpack.feed(piece):
                yield part
    if unpack is not None:
        unpack.expect_end()


async def beginning(response: httpx2.Response, enough: int) -> bytes:
    """Read a body to its end, or until it is larger than what is wanted of it."""
    body = bytearray()
    async with aclosing(pieces(response)) as incoming:
        async for piece in incoming:
            body.extend(piece)
            if len(body) > enough:
                break
    return bytes(body)


async def said(response: httpx2.Response, deadline: Deadline) -> bytes:
    """Give what an answer says about its error, and close it.

    However badly it says it, its status says enough: an error page that never ends does not hide
    that.
    """
    patience = Deadline(min(_ERROR_SECONDS, deadline.left()), what="an error page")
    try:
        return await patience.wait(beginning(response, _ERROR_BYTES))
    except TimeoutError:
        return b""
    except network_errors():
        return b""
    finally:
        await response.aclose()


class _Unpacking:
    def __init__(self) -> None:
        import zlib

        self._zlib = zlib
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip and zlib alike

    def feed(self, packed: bytes) -> Iterator[bytes]:
        import httpx2

        try:
            while packed:
                part = self._unpack.decompress(packed, _PIECE)
                packed = self._unpack.unconsumed_tail
                if part:
                    yield part
        except self._zlib.error as error:
            raise httpx2.DecodingError(f"what it packed can't be unpacked: {error}") from error

    def expect_end(self) -> None:
        import httpx2

        if not self._unpack.eof:
            raise httpx2.DecodingError("what it packed lacks its end")
