"""Reads several answers at once, and hands over all that is ready together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from blazen.errors import OutputError
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)

_AHEAD = 256
"""Pieces that are read before they are fetched: a client that reads slowly holds the engine."""


class Piece(NamedTuple):
    """A piece of one of the answers; ``None`` is the end of it."""

    which: int
    chunk: InferenceChunk | None


async def merged(streams: Sequence[InferenceChunkStream]) -> AsyncIterator[list[Piece]]:
    """Give the pieces of all answers as they come, as many at once as are there.

    One write for all that is ready costs a server less than one for each. All streams are closed
    when this ends, by an error of one of them or because it is closed itself.
    """
    basket = _Basket()
    readers = [
        asyncio.ensure_future(_read(index, stream, basket)) for index, stream in enumerate(streams)
    ]
    try:
        left = len(readers)
        while left:
            pieces = await basket.take()
            left -= sum(piece.chunk is None for piece in pieces)
            if pieces:
                yield pieces
    finally:
        for reader in readers:
            reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*readers, return_exceptions=True)


async def collected(streams: Sequence[InferenceChunkStream]) -> list[ModelResponse]:
    """Give the whole answers; where one fails, the others are stopped."""
    if len(streams) == 1:
        return [await _collect(streams[0])]
    readers = [asyncio.ensure_future(_collect(stream)) for stream in streams]
    try:
        return await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _collect(stream: InferenceChunkStream) -> ModelResponse:
    try:
        return await stream.collect()
    except OutputError:
        if not _was_cut(stream):
            raise
        return stream.response


def _was_cut(stream: InferenceChunkStream) -> bool:
    """Tell whether an answer ended before its shape was whole: its finish_reason says so then."""
    return stream.response.finish_reason is FinishReason.Length


async def _read(index: int, stream: InferenceChunkStream, basket: _Basket) -> None:
    try:
        async with stream:
            try:
                async for chunk in stream:
                    basket.put(Piece(index, chunk))
                    if basket.is_full:
                        await basket.room()
            except OutputError:
                if not _was_cut(stream):
                    raise
    except Exception as error:  # noqa: BLE001 - whoever takes the pieces raises it
        basket.fail(error)
    else:
        basket.put(Piece(index, None))


class _Basket:
    """Pieces between those who read and the one who writes."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._error: Exception | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._room = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return len(self._pieces) >= _AHEAD

    def put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._wake()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._wake()

    async def room(self) -> None:
        self._room.clear()
        await self._room.wait()

    async def take(self) -> list[Piece]:
        if not self._pieces and self._error is None:
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        if not self._pieces and self._error is not None:
            raise self._error
        pieces, self._pieces = self._pieces, []
        self._room.set()
        return pieces

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted.done():
            wanted.set_result(None)
