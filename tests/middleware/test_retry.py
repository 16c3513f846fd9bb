"""Failed requests are made again where that is safe, and only there."""

from __future__ import annotations

import asyncio

import pytest

from blazen.errors import (
    AuthError,
    ContextLengthError,
    InferenceError,
    OutputError,
    ProviderError,
    RateLimitError,
    TimeoutError,  # noqa: A004 - the name that users expect
    UnsupportedError,
    ValidationError,
)
from blazen.middleware import Retry, with_retry
from tests.middleware.scripted import Scripted, in_virtual_time, now, texts


def busy(status: int = 503) -> ProviderError:
    return ProviderError("busy", provider="p", status=status)


@in_virtual_time
async def test_what_failed_for_now_is_asked_again():
    for failure in (busy(), busy(500), busy(529), TimeoutError("late"), ConnectionError("lost")):
        model = Scripted([failure], ["yes"])
        assert (await with_retry(model).complete("hi")).content == "yes"
        assert len(model.requests) == 2


@pytest.mark.parametrize("place", ["as it begins", "before its first piece"])
@in_virtual_time
async def test_a_stream_is_begun_again_until_its_first_piece(place):
    failing = [busy(), ...] if place == "as it begins" else [busy()]
    model = Scripted(failing, failing, ["yes", " sir"])
    stream = with_retry(model).complete_stream("hi")
    assert await texts(stream) == ["yes", " sir"]
    assert stream.response.content == "yes sir"
    assert stream.response.usage is not None
    assert len(model.requests) == 3


@in_virtual_time
async def test_nothing_is_asked_again_after_the_first_piece():
    model = Scripted(["yes", busy()], ["no"])
    stream = with_retry(model).complete_stream("hi")
    with pytest.raises(ProviderError, match="busy"):
        await texts(stream)
    assert stream.response.content == "yes"
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        ValidationError("no"),
        UnsupportedError("no"),
        AuthError("no", provider="p", status=401),
        ProviderError("no", provider="p", status=400),
        ProviderError("no", provider="p"),
        ContextLengthError("no", tokens=9, limit=8),
        InferenceError("no"),
        OutputError("no", text="{"),
        KeyError("no"),
    ],
)
@in_virtual_time
async def test_what_would_be_the_same_is_asked_once(error):
    model = Scripted([error], ["yes"])
    with pytest.raises(type(error)):
        await with_retry(model).complete("hi")
    with pytest.raises(type(error)):
        await texts(with_retry(Scripted([error], ["yes"])).complete_stream("hi"))
    assert len(model.requests) == 1


@in_virtual_time
async def test_pauses_grow_with_chance_and_end():
    model = Scripted([busy()])
    with pytest.raises(ProviderError):
        await with_retry(model, Retry(times=4, first=1)).complete("hi")
    pauses = [after - before for before, after in zip(model.times, model.times[1:], strict=False)]
    assert len(pauses) == 4
    for number, pause in enumerate(pauses):
        assert 2**number / 2 <= pause <= 2**number


@in_virtual_time
async def test_retry_after_is_kept_to():
    model = Scripted([RateLimitError("wait", provider="p", status=429, retry_after=7)], ["yes"])
    await with_retry(model, {"first": 0.1}).complete("hi")
    assert 7 <= now() < 8
    too_long = RateLimitError("wait", provider="p", status=429, retry_after=31)
    model = Scripted([too_long], ["yes"])
    with pytest.raises(RateLimitError):
        await with_retry(model).complete("hi")
    assert len(model.requests) == 1


@in_virtual_time
async def test_no_repetition_begins_after_its_time():
    model = Scripted([3, busy()])
    with pytest.raises(ProviderError):
        await with_retry(model, Retry(times=20, first=1, longest=1), within=10).complete("hi")
    assert model.times[-1] < 10
    assert len(model.times) == 3


@in_virtual_time
async def test_errors_can_be_added_but_for_those_that_never_get_better():
    model = Scripted([OutputError("no", text="{")], ["yes"])
    assert (await with_retry(model, also=(OutputError,)).complete("hi")).content == "yes"
    for kind in (ValidationError, AuthError, UnsupportedError, Exception, "OutputError"):
        with pytest.raises(ValidationError, match="also"):
            with_retry(model, also=(kind,))


@pytest.mark.parametrize("way", ["cancel", "close"])
@in_virtual_time
async def test_a_pause_can_be_left(way):
    model = Scripted([busy()])
    stream = with_retry(model, Retry(first=20)).complete_stream("hi")
    await stream
    task = asyncio.create_task(texts(stream))
    await asyncio.sleep(1)
    if way == "cancel":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await stream.aclose()
        assert await task == []
    assert now() == 1
    assert len(model.requests) == 1


@in_virtual_time
async def test_a_message_added_later_is_not_in_the_repetition():
    model = Scripted([5, busy()], ["yes"])
    messages = [{"role": "user", "content": "hi"}]
    task = asyncio.create_task(with_retry(model).complete(messages))
    await asyncio.sleep(1)
    messages.append({"role": "user", "content": "more"})
    await task
    assert [len(request) for request in model.requests] == [1, 1]
