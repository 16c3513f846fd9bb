"""Another model is asked where the first can't, and the answer says so."""

from __future__ import annotations

import asyncio
import logging

import pytest

from blazen.errors import (
    AuthError,
    BackendCrashedError,
    BudgetError,
    ContextLengthError,
    InferenceError,
    LoadError,
    OutputError,
    ProviderError,
    RateLimitError,
    TimeoutError,  # noqa: A004 - the name that users expect
    UnsupportedError,
    ValidationError,
)
from blazen.middleware import with_cache, with_fallback, with_hooks, with_tracing
from blazen.middleware.fallback import MOVES_ON
from blazen.protocols.model import LocalModel
from blazen.testing import EchoModel, EchoOptions
from blazen.types.route import Route
from tests.middleware.scripted import Scripted, in_virtual_time, texts

BUSY = ProviderError("busy", provider="p", status=503)


@pytest.mark.parametrize(
    "error",
    [
        BUSY,
        AuthError("no", provider="p", status=401),
        RateLimitError("no", provider="p", status=429),
        UnsupportedError("no"),
        LoadError("no"),
        BudgetError("no"),
        BackendCrashedError("no"),
        InferenceError("no"),
        TimeoutError("no"),
        ContextLengthError("no", tokens=9, limit=8),
        ConnectionError("no"),
    ],
)
@in_virtual_time
async def test_the_next_is_asked_after_errors_that_are_this_models_own(error):
    first, second = Scripted([error]), Scripted(["yes"])
    model = with_fallback(first, second)
    answer = await model.complete("hi")
    assert answer.content == "yes"
    route = answer.route
    assert (route.asked, route.answered) == ("Scripted (1)", "Scripted (2)")
    assert route.reasons == (f"{type(error).__name__}: {error}",)
    stream = model.complete_stream("hi")
    assert await texts(stream) == ["yes"]
    assert stream.response.route == route
    assert stream.route == route


@pytest.mark.parametrize(
    "error", [ValidationError("no"), OutputError("no", text="{"), KeyError("no")]
)
@in_virtual_time
async def test_the_next_is_not_asked_after_others(error):
    second = Scripted(["yes"])
    with pytest.raises(type(error)):
        await with_fallback(Scripted([error]), second).complete("hi")
    with pytest.raises(type(error)):
        await texts(with_fallback(Scripted([error]), second).complete_stream("hi"))
    assert second.requests == []


@in_virtual_time
async def test_the_first_answers_where_it_can():
    model = with_fallback(Scripted(["a"]), Scripted(["b"]))
    assert (await model.complete("hi")).route == Route("Scripted (1)", "Scripted (1)")


@in_virtual_time
async def test_after_the_first_piece_there_is_no_other():
    second = Scripted(["no"])
    stream = with_fallback(Scripted(["yes", BUSY]), second).complete_stream("hi")
    with pytest.raises(ProviderError):
        await texts(stream)
    assert stream.response.content == "yes"
    assert second.requests == []


@in_virtual_time
async def test_the_last_ones_error_is_raised():
    model = with_fallback(Scripted([BUSY]), Scripted([BUSY, ...]), Scripted([LoadError("gone")]))
    with pytest.raises(LoadError, match="gone"):
        await model.complete("hi")
    with pytest.raises(LoadError, match="gone"):
        await texts(model.complete_stream("hi"))


@in_virtual_time
async def test_which_errors_move_on_can_be_said():
    model = with_fallback(Scripted([BUSY]), Scripted(["yes"]), on=(LoadError,))
    with pytest.raises(ProviderError):
        await model.complete("hi")
    broken = Scripted([OutputError("no", text="{")])
    model = with_fallback(broken, Scripted(["yes"]), on=(*MOVES_ON, OutputError))
    assert (await model.complete("hi")).content == "yes"


@in_virtual_time
async def test_going_on_is_logged_without_what_the_error_quotes(caplog):
    with caplog.at_level(logging.WARNING, "blazen"):
        failing = Scripted([InferenceError("it said: my secret")])
        await with_fallback(failing, Scripted(["yes"])).complete("hi")
    assert "InferenceError" in caplog.text
    assert "secret" not in caplog.text


@in_virtual_time
async def test_the_route_comes_through_what_is_around():
    pytest.importorskip("opentelemetry.trace")
    # The first one fails only as its first piece is read: when its stream has begun already.
    model = with_tracing(with_hooks(with_fallback(Scripted([BUSY]), Scripted(["yes"]))))
    stream = await model.complete_stream("hi")
    assert await texts(stream) == ["yes"]
    assert stream.response.route.answered == "Scripted (2)"


@in_virtual_time
async def test_a_cached_member_tells_that_too():
    model = with_fallback(Scripted([BUSY]), with_cache(Scripted(["yes"])))
    await model.complete("hi")
    route = (await model.complete("hi")).route
    assert (route.asked, route.answered) == ("Scripted (1)", "cache")


def test_it_takes_two_models():
    with pytest.raises(ValidationError, match="two"):
        with_fallback(Scripted(["a"]))
    with pytest.raises(ValidationError):
        with_fallback(Scripted(["a"]), object())
    with pytest.raises(ValidationError, match="on"):
        with_fallback(Scripted(["a"]), Scripted(["a"]), on=LoadError)


def test_the_lifecycle_is_that_of_all_on_this_machine():
    async def main():
        big = EchoModel(EchoOptions("big", memory=3 << 20))
        small = EchoModel(EchoOptions("small", memory=1 << 20))
        both = with_fallback(Scripted([BUSY]), big, small)
        assert isinstance(both, LocalModel)
        assert not both.is_loaded
        await both.load()
        assert big.is_loaded
        assert small.is_loaded
        assert both.memory_bytes == big.memory_bytes + small.memory_bytes
        assert (await both.complete("hi")).route.answered == "big"
        await both.unload()
        assert not big.is_loaded
        assert not small.is_loaded
        assert both.memory_bytes is None
        # A request loads only who answers it.
        await both.complete("hi")
        assert both.is_loaded
        assert big.is_loaded
        assert not small.is_loaded
        await both.unload()

    asyncio.run(main())


def test_one_that_cannot_be_loaded_is_passed_over():
    async def main():
        broken = EchoModel(EchoOptions("broken", load_error=RuntimeError("no")))
        fine = EchoModel(EchoOptions("fine"))
        async with with_fallback(broken, fine) as both:
            assert (await both.complete("hi")).route.answered == "fine"
        with pytest.raises(LoadError):
            await with_fallback(broken, Scripted(["a"])).load()

    asyncio.run(main())
