"""Answers are there in time, or end in a TimeoutError with the model stopped."""

from __future__ import annotations

import asyncio
import builtins
import gc

import pytest

from blazen.errors import TimeoutError, ValidationError  # noqa: A004 - the name that users expect
from blazen.middleware import with_timeout
from tests.middleware.scripted import Scripted, in_virtual_time, now, texts


@pytest.mark.parametrize("way", ["whole", "streamed"])
@in_virtual_time
async def test_the_whole_answer_has_its_time(way):
    model = Scripted([4, "a", 4, "b", 4, "c"])
    timed = with_timeout(model, 10)
    answer = timed.complete("hi") if way == "whole" else texts(timed.complete_stream("hi"))
    with pytest.raises(TimeoutError, match=r"Scripted: .* 10 s that total allows") as raised:
        await answer
    assert isinstance(raised.value, builtins.TimeoutError)
    assert now() == 10
    assert model.running == 0
    assert model.stopped == 1
    assert (await with_timeout(model, 13).complete("hi")).content == "abc"


@pytest.mark.parametrize("script", [[6, ..., "a"], [6, "a"], [2, ..., 4, "a"]])
@in_virtual_time
async def test_the_first_token_has_its_time(script):
    model = Scripted(script)
    with pytest.raises(TimeoutError, match="first_token"):
        await texts(with_timeout(model, 60, first_token=5).complete_stream("hi"))
    assert now() == 5
    with pytest.raises(TimeoutError, match="first_token"):
        await with_timeout(model, first_token=5).complete("hi")
    assert await texts(with_timeout(model, first_token=7).complete_stream("hi")) == ["a"]


@in_virtual_time
async def test_each_further_token_has_its_time():
    model = Scripted([9, "a", 2, "b", 4, "c"])
    stream = with_timeout(model, between_tokens=3).complete_stream("hi")
    with pytest.raises(TimeoutError, match="between_tokens"):
        await texts(stream)
    assert now() == 14
    assert stream.response.content == "ab"
    with pytest.raises(TimeoutError, match="between_tokens"):
        await with_timeout(model, between_tokens=3).complete("hi")
    stream = with_timeout(model, between_tokens=5).complete_stream("hi")
    assert await texts(stream) == ["a", "b", "c"]


@in_virtual_time
async def test_a_slow_reader_is_not_the_models_fault():
    stream = with_timeout(Scripted(["a", 1, "b"]), between_tokens=3).complete_stream("hi")
    got = []
    async for piece in stream:
        got.append(piece.content)
        await asyncio.sleep(50)
    assert got[:2] == ["a", "b"]


@in_virtual_time
async def test_who_cancels_is_told_so():
    timed = with_timeout(Scripted([20, "a"]), 10)
    task = asyncio.create_task(timed.complete("hi"))
    await asyncio.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Both at the very same moment.
    task = asyncio.create_task(timed.complete("hi"))
    asyncio.get_running_loop().call_later(10, task.cancel)
    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        await task


@in_virtual_time
async def test_the_task_goes_on_as_if_it_had_never_been_cancelled():
    with pytest.raises(TimeoutError):
        await with_timeout(Scripted([20, "a"]), 10).complete("hi")
    task = asyncio.current_task()
    assert getattr(task, "cancelling", lambda: 0)() == 0
    await asyncio.sleep(1)


@in_virtual_time
async def test_one_timeout_within_another():
    model = Scripted([20, "a"])
    for inner, outer, name in ((5, 10, "5 s"), (10, 5, "5 s"), (5, 5, "5 s")):
        with pytest.raises(TimeoutError, match=name):
            await with_timeout(with_timeout(model, inner), outer).complete("hi")
        with pytest.raises(TimeoutError, match=name):
            await texts(with_timeout(with_timeout(model, inner), outer).complete_stream("hi"))
    assert now() == 30


@in_virtual_time
async def test_no_timer_outlives_a_stream():
    timed = with_timeout(Scripted(["a", 1, "b"]), 1000, between_tokens=100)
    await texts(timed.complete_stream("hi"))
    stream = timed.complete_stream("hi")
    await anext(stream)
    await stream.aclose()
    stream = await timed.complete_stream("hi")
    del stream
    gc.collect()
    assert now() < 10


def test_numbers_are_checked():
    for given in ({}, {"total": 0}, {"first_token": -1}, {"between_tokens": "soon"}):
        with pytest.raises(ValidationError):
            with_timeout(Scripted(["a"]), **given)
