"""The suite of chat models holds for each middleware around one, and for all of them together."""

from __future__ import annotations

import pytest

from blazen.errors import ProviderError
from blazen.middleware import (
    MemoryCache,
    with_cache,
    with_fallback,
    with_hooks,
    with_limits,
    with_retry,
    with_timeout,
    with_tracing,
)
from blazen.protocols.model import LocalModel, Model
from blazen.testing import EchoModel, EchoOptions, ModelSuite
from blazen.testing.running import on_loop

pytestmark = pytest.mark.long
PACE = 0.0005


def _nothing(*_: object) -> None:
    pass


class Busy:
    """A model elsewhere that never has time."""

    def complete_stream(self, messages, options=None):
        raise ProviderError("busy", provider="busy", status=503)

    async def complete(self, messages, options=None):
        raise ProviderError("busy", provider="busy", status=503)

    def __repr__(self):
        return "Busy()"


def retried(model):
    return with_retry(model)


def cached(model):
    return with_cache(model)


def cached_anew(model):
    """What has just been answered is forgotten at once: each request goes to the model."""
    return with_cache(model, MemoryCache(1))


def timed(model):
    return with_timeout(model, 250, first_token=250, between_tokens=250)


def limited(model):
    return with_limits(model, concurrent=30, requests_per_minute=10**6, tokens_per_minute=10**9)


def hooked(model):
    return with_hooks(
        model, on_request=_nothing, on_chunk=_nothing, on_response=_nothing, on_error=_nothing
    )


def traced(model):
    pytest.importorskip("opentelemetry.sdk.trace")
    return with_tracing(model, content=True)


def fallen_back(model):
    return with_fallback(Busy(), model)


def stacked(model):
    for wrap in (limited, timed, retried, hooked, fallen_back, cached_anew, traced):
        model = wrap(model)
    return model


class EchoSuite(ModelSuite):
    samples = False
    holds_bytes = memory = 12 << 20

    def wrap(self, model):
        raise NotImplementedError

    @pytest.fixture
    def model(self):
        return self.wrap(EchoModel(EchoOptions(repeat=20, memory=self.memory, piece_delay=PACE)))

    @pytest.fixture
    def broken_model(self):
        return lambda path: self.wrap(EchoModel(EchoOptions(weights=path)))

    def test_it_is_a_model_on_this_machine(self, model):
        assert isinstance(model, LocalModel)
        assert not isinstance(self.wrap(Busy()), LocalModel)
        assert isinstance(self.wrap(Busy()), Model)


class TestRetry(EchoSuite):
    wrap = staticmethod(retried)


class TestCache(EchoSuite):
    wrap = staticmethod(cached)
    # From the second time on, an answer comes at once: nothing is left to be stopped.
    stops_early = False

    @on_loop
    async def test_load_and_unload_are_idempotent(self, model):
        """They are; and what was answered once needs no load."""
        question = self.questions(1)[0]
        await model.unload()
        await model.unload()
        await model.load()
        await model.load()
        assert model.is_loaded
        expected = await self.ask(model, question)
        await model.unload()
        self.check_same(await self.ask(model, question), expected)
        assert not model.is_loaded


class TestTimeout(EchoSuite):
    wrap = staticmethod(timed)


class TestLimits(EchoSuite):
    wrap = staticmethod(limited)


class TestHooks(EchoSuite):
    wrap = staticmethod(hooked)


class TestTracing(EchoSuite):
    wrap = staticmethod(traced)


class TestFallback(EchoSuite):
    wrap = staticmethod(fallen_back)


class TestStack(EchoSuite):
    wrap = staticmethod(stacked)
