"""Requests wait for their turn, in order, and give their places back however they end."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from blazen.errors import ProviderError, ValidationError
from blazen.middleware import Limits, with_limits, with_timeout
from blazen.types.completion import InferenceUsage
from tests.middleware.scripted import Scripted, in_virtual_time, now, texts


def limits(**given) -> Limits:
    """Limits by the clock of the running loop."""
    made = Limits(**given)
    made._clock = asyncio.get_running_loop().time
    return made


@in_virtual_time
async def test_no_more_than_allowed_are_answered_at_once():
    model, most = Scripted([1, "a"]), 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, model.running)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    limited = with_limits(model, limits(concurrent=3))
    await asyncio.gather(*(limited.complete("hi") for _ in range(7)))
    await asyncio.gather(*(texts(limited.complete_stream("hi")) for _ in range(7)))
    watching.cancel()
    assert most == 3
    assert now() == pytest.approx(6)
    assert (limited.limits.running, limited.limits.waiting) == (0, 0)


@in_virtual_time
async def test_requests_of_a_minute_are_spread_and_in_order():
    model = Scripted(["a"])
    limited = with_limits(model, limits(requests_per_minute=4))
    await asyncio.gather(*(limited.complete(str(number)) for number in range(11)))
    assert model.requests == [str(number) for number in range(11)]
    assert model.times == [0, 0, 0, 0, 60, 60, 60, 60, 120, 120, 120]
    for time in model.times:  # in any sixty seconds, not in those of the clock
        assert sum(time <= other < time + 60 for other in model.times) <= 4


@in_virtual_time
async def test_tokens_are_estimated_then_corrected():
    model = Scripted(["a"], usage=InferenceUsage(10, 20))
    limited = with_limits(model, limits(tokens_per_minute=1000))
    # Each is taken for more than 500, and takes 30.
    await asyncio.gather(*(limited.complete("hi", {"max_tokens": 600}) for _ in range(3)))
    assert model.times == [0, 0, 0]
    model = Scripted([1, "a"], usage=InferenceUsage(10, 600))
    limited = with_limits(model, limits(tokens_per_minute=1000))
    start = now()
    for _ in range(3):
        await texts(limited.complete_stream("hi", {"max_tokens": 5}))
    assert [time - start for time in model.times] == [0, 1, 60]


@in_virtual_time
async def test_one_that_is_larger_than_the_limit_goes_alone():
    model = Scripted(["a"], usage=InferenceUsage(10, 20))
    limited = with_limits(model, limits(tokens_per_minute=100))
    await limited.complete("hi", {"max_tokens": 5000})
    assert now() == 0


@in_virtual_time
async def test_without_usage_the_pieces_are_counted():
    model = Scripted(["a"] * 50, usage=None)
    limited = with_limits(model, limits(tokens_per_minute=100))
    for _ in range(3):
        await texts(limited.complete_stream("hi", {"max_tokens": 10}))
    assert model.times == [0, 0, 60]


@pytest.mark.parametrize(
    "way", ["end", "error", "late error", "aclose", "cancel", "break", "drop", "never read"]
)
@in_virtual_time
async def test_a_place_comes_back(way):
    model = Scripted(["a", 5, "b", 5])
    if "error" in way:
        failure = ProviderError("no", provider="p", status=500)
        model = Scripted([failure, ...] if way == "error" else ["a", failure], ["a", "b"])
    limited = with_limits(model, limits(concurrent=1))
    stream = limited.complete_stream("hi")
    if way == "end":
        await texts(stream)
    elif "error" in way:
        with pytest.raises(ProviderError):
            await texts(stream)
    elif way == "aclose":
        await anext(stream)
        await stream.aclose()
    elif way == "cancel":
        task = asyncio.create_task(texts(stream))
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.wait((task,))
    elif way == "break":
        async for _ in stream:
            break
    elif way == "drop":
        await stream
        del stream
        gc.collect()
    else:
        del stream
    answer = await limited.complete("again")
    assert answer.content == "ab"
    assert limited.limits.running == 0


@in_virtual_time
async def test_who_gives_up_waiting_gives_up_the_place():
    model = Scripted([10, "a"])
    limited = with_limits(model, limits(concurrent=1))
    first = asyncio.create_task(limited.complete("1"))
    await asyncio.sleep(1)
    second = asyncio.create_task(limited.complete("2"))
    third = asyncio.create_task(limited.complete("3"))
    await asyncio.sleep(1)
    second.cancel()
    await asyncio.wait((first, second, third))
    assert model.requests == ["1", "3"]
    assert now() == 20
    # The wait is a part of what a timeout around it counts.
    timed = with_timeout(limited, 15)
    results = await asyncio.gather(*(timed.complete("x") for _ in range(2)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["ModelResponse", "TimeoutError"]
    assert (limited.limits.running, limited.limits.waiting) == (0, 0)


@in_virtual_time
async def test_models_of_one_account_share_its_limits():
    shared = limits(requests_per_minute=2)
    one, other = Scripted(["a"]), Scripted(["b"])
    models = [with_limits(one, shared), with_limits(other, shared)]
    await asyncio.gather(*(model.complete("hi") for model in models * 2))
    assert sorted(one.times + other.times) == [0, 0, 60, 60]


def test_several_event_loops_share_them():
    shared = Limits(concurrent=1)
    most, running, lock = 0, 0, threading.Lock()

    class Counting:
        async def complete(self, messages, options=None):
            nonlocal most, running
            with lock:
                running += 1
                most = max(most, running)
            for _ in range(3):
                await asyncio.sleep(0)
            with lock:
                running -= 1
            return await Scripted(["a"]).complete(messages)

    model = with_limits(Counting(), shared)

    async def several():
        return await asyncio.gather(*(model.complete("hi") for _ in range(30)))

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert most == 1
    assert (shared.running, shared.waiting) == (0, 0)


def test_a_loop_that_was_closed_keeps_no_place():
    shared = Limits(concurrent=1)
    model = with_limits(Scripted(["a"]), shared)
    loop = asyncio.new_event_loop()
    stream = model.complete_stream("hi")
    loop.run_until_complete(stream._begin())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    del stream
    gc.collect()
    assert asyncio.run(model.complete("hi")).content == "a"


def test_what_is_given_is_checked():
    model = Scripted(["a"])
    shared = Limits(concurrent=2)
    assert "concurrent=2" in repr(shared)
    for given in ({}, {"concurrent": 0}, {"tokens_per_minute": 1.5}, {"requests_per_minute": "x"}):
        with pytest.raises(ValidationError):
            with_limits(model, **given)
    with pytest.raises(ValidationError, match="not both"):
        with_limits(model, shared, concurrent=2)
