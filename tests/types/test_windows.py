"""Windows of texts from asynchronous sources."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc

import pytest

from blazen.types.embedding import EmbeddingResponse, EmbeddingStream, Vectors
from blazen.types.windows import answered, windows

PATIENCE = 20


async def read(source, size=2):
    async def whole():
        return [window async for window in windows(source, size)]

    return await asyncio.wait_for(whole(), PATIENCE)


@pytest.fixture
async def complaints():
    """What asyncio reports of tasks whose errors no one has looked at."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.append(context))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("waits", [False, True])
async def test_every_text_is_given_once_in_order(size, waits):
    async def source():
        for number in range(7):
            if waits:
                await asyncio.sleep(0)
            yield str(number)

    found = await read(source(), size)
    assert [text for window in found for text in window] == [str(number) for number in range(7)]
    assert all(1 <= len(window) <= size for window in found)


async def test_a_source_is_read_and_closed_in_one_task_and_context():
    value = contextvars.ContextVar("value", default="outside")
    tasks = set()

    async def source():
        token = value.set("inside")
        try:
            for number in range(5):
                assert value.get() == "inside"
                tasks.add(asyncio.current_task())
                yield str(number)
                await asyncio.sleep(0)
        finally:
            tasks.add(asyncio.current_task())
            value.reset(token)

    assert len(await read(source())) >= 3
    stream = windows(source(), 2)
    await anext(stream)
    await stream.aclose()
    assert len(tasks) == 2, "one for each time that it was read"
    assert value.get() == "outside"


class Limited:
    """What asyncio.timeout does, when told: it cancels the task that entered it."""

    async def __aenter__(self):
        self.task = asyncio.current_task()
        self.over = False
        return self

    def end(self):
        self.over = True
        self.task.cancel()

    async def __aexit__(self, kind, error, trace):
        if self.over and kind is asyncio.CancelledError:
            raise TimeoutError("the source took too long") from error


async def test_a_timeout_of_the_source_ends_a_source_that_stands_still():
    async def source():
        async with Limited() as limit:
            yield "a"
            asyncio.get_running_loop().call_soon(limit.end)
            await asyncio.Event().wait()

    found = []

    async def whole():
        async for window in windows(source(), 1):
            found.extend(window)

    with pytest.raises(TimeoutError, match="the source took too long"):
        await asyncio.wait_for(whole(), PATIENCE)
    assert found == ["a"]


async def test_a_timeout_of_the_source_is_heard_while_what_it_gave_is_answered():
    limit = Limited()

    async def source():
        async with limit:
            yield "a"
            yield "b"

    stream = windows(source(), 1)
    assert await anext(stream) == ["a"]
    limit.end()
    with pytest.raises(TimeoutError, match="the source took too long"):
        await asyncio.wait_for(anext(stream), PATIENCE)


async def test_a_source_is_not_read_ahead_while_what_it_gave_is_answered():
    given = 0

    async def source():
        nonlocal given
        for number in range(100):
            given += 1
            yield str(number)
            await asyncio.sleep(0)

    read_so_far = 0
    async for window in windows(source(), 8):
        read_so_far += len(window)
        for _ in range(30):
            await asyncio.sleep(0)
        assert given <= read_so_far + 1
    assert read_so_far == 100


@pytest.mark.parametrize("stands_still", [False, True])
async def test_leaving_ends_and_closes_the_source(stands_still, complaints):
    closed = []

    async def source():
        try:
            yield "a"
            if stands_still:
                await asyncio.Event().wait()
            yield "b"
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    before = asyncio.all_tasks()
    stream = windows(source(), 1)
    assert await anext(stream) == ["a"]
    await stream.aclose()
    assert closed == [True]
    assert asyncio.all_tasks() == before

    async def reader():
        async for _ in windows(source(), 1):
            reached.set()

    reached = asyncio.Event()
    task = asyncio.create_task(reader())
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    gc.collect()
    assert closed == [True, True]
    assert not complaints


async def test_an_error_that_no_reader_wants_is_not_reported(complaints):
    async def source():
        yield "a"
        raise ValueError("boom")

    async def embed(texts):
        for _ in range(5):
            await asyncio.sleep(0)
        return EmbeddingResponse(Vectors.of([[1.0]] * len(texts)))

    async for piece in EmbeddingStream.of(answered(source(), 10, embed)):
        assert len(piece.embeddings) == 1
        break
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert not complaints
    with pytest.raises(ValueError, match="boom"):
        await read(source())


async def test_a_source_that_will_not_be_cancelled_is_left_at_its_next_text():
    async def source():
        yield "a"
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield "more"
        await asyncio.Event().wait()

    stream = windows(source(), 1)
    assert await anext(stream) == ["a"]
    step = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    step.cancel()
    await asyncio.wait_for(asyncio.wait([step]), PATIENCE)
    assert step.cancelled()


async def test_an_error_of_closing_the_source_comes_out():
    async def source():
        try:
            yield "a"
            yield "b"
        finally:
            raise ValueError("it can't be closed")

    stream = windows(source(), 1)
    await anext(stream)
    with pytest.raises(ValueError, match="can't be closed"):
        await stream.aclose()


async def test_an_iterator_that_is_no_generator_is_read_too():
    class Three:
        def __init__(self):
            self.left = 3

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return str(self.left)

    assert [text for window in await read(Three()) for text in window] == ["2", "1", "0"]
