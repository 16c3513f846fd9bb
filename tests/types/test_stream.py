"""How a stream starts, and how it is left while it does."""

from __future__ import annotations

import asyncio

import pytest

from blazen import InferenceChunk, InferenceChunkStream


class Line:
    """Pieces that are held back, with what became of them."""

    def __init__(self, *texts, error=None):
        self.texts, self.error = texts, error
        self.go = asyncio.Event()
        self.begun, self.closed = asyncio.Event(), False

    async def pieces(self):
        try:
            self.begun.set()
            await self.go.wait()
            if self.error is not None:
                raise self.error
            for text in self.texts:
                yield InferenceChunk(text)
        finally:
            self.closed = True

    def stream(self):
        # Around another one, as those are that know of a shape.
        return InferenceChunkStream(InferenceChunkStream.of(self.pieces(), at_once=True).begin)


async def test_what_cannot_begin_fails_as_the_stream_starts():
    line = Line(error=ConnectionError("gone"))
    line.go.set()
    stream = line.stream()
    with pytest.raises(ConnectionError, match="gone"):
        await stream
    assert [chunk async for chunk in stream] == []


async def test_the_first_piece_is_not_lost():
    line = Line("a", "b")
    line.go.set()
    stream = await line.stream()
    assert [chunk.content async for chunk in stream] == ["a", "b"]
    line = Line()
    line.go.set()
    assert [chunk async for chunk in await line.stream()] == []


async def test_a_generator_is_not_run_before_it_is_read_unless_that_is_wanted():
    line = Line("a")
    stream = await InferenceChunkStream.of(line.pieces())
    assert not line.begun.is_set()
    await stream.aclose()


async def test_a_stream_that_starts_can_be_closed():
    line = Line("a")
    stream = line.stream()

    async def read():
        found = [chunk async for chunk in stream]
        await asyncio.sleep(0)  # the cancelling that ended the wait is taken back
        return found

    reading = asyncio.create_task(read())
    await line.begun.wait()
    await stream.aclose()
    assert line.closed
    assert await reading == []
    await stream.aclose()


async def test_who_is_cancelled_while_a_stream_starts_closes_it():
    line = Line("a")
    reading = asyncio.create_task(line.stream().collect())
    await line.begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert line.closed


async def test_a_stream_closed_before_its_first_piece_is_read_gives_none():
    line = Line("a", "b")
    line.go.set()
    stream = await line.stream()
    await stream.aclose()
    assert line.closed
    assert [chunk async for chunk in stream] == []
