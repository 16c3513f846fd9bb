"""A manager holds wrapped models as it holds others, and middleware goes around a real engine."""

from __future__ import annotations

import asyncio

import pytest

import blazen
from blazen.errors import InferenceError, LoadError, ValidationError
from blazen.middleware import (
    with_cache,
    with_fallback,
    with_hooks,
    with_limits,
    with_retry,
    with_timeout,
)
from blazen.protocols.local import Sized
from blazen.testing import EchoEmbedding, EchoModel, EchoOptions
from blazen.types.footprint import Footprint

MIB = 1 << 20


class SizedEcho(EchoModel):
    def _footprint(self, job):
        return Footprint({"cpu": self.options.memory}, load_peak={"cpu": 2 * self.options.memory})


def echo(name, memory=8 * MIB):
    return SizedEcho(EchoOptions(name, memory=memory))


def stacked(model):
    wrapped = with_cache(with_limits(with_timeout(with_retry(with_hooks(model)), 60), concurrent=4))
    assert isinstance(wrapped, blazen.LocalModel)
    return wrapped


def test_a_manager_sees_of_a_wrapped_model_what_it_sees_of_the_model():
    async def main():
        model = echo("a")
        wrapped = stacked(model)
        assert await wrapped.footprint() == await model.footprint()
        assert isinstance(wrapped, Sized)
        assert wrapped.device == model.device == "cpu"
        assert wrapped.options is model.options
        assert not hasattr(wrapped, "threads")
        with pytest.raises(AttributeError):
            _ = wrapped._nothing
        await wrapped.load()
        assert wrapped.memory_bytes == model.memory_bytes
        await wrapped.unload()
        assert not model.is_loaded

    asyncio.run(main())


def test_a_manager_evicts_wrapped_models_and_its_accounts_are_right():
    async def main():
        async with blazen.ModelManager(
            pools={"cpu": 20 * MIB}, learn=False, measure=False
        ) as manager:
            models = {name: echo(name) for name in "ab"}
            for name, model in models.items():
                await manager.register(name, stacked(model))
            assert (await manager.complete("a", "hi")).content == "hi"
            assert models["a"].is_loaded
            assert (await manager.complete("b", "hi")).content == "hi"
            assert models["b"].is_loaded
            assert not models["a"].is_loaded
            stream = manager.complete_stream("a", "one two")
            assert [chunk.content async for chunk in stream][:2] == ["one", " two"]
            (pool,) = manager.status().pools
            assert pool.name == "cpu"
        assert not any(model.is_loaded for model in models.values())

    asyncio.run(main())


def test_a_fallback_takes_what_all_of_its_models_take():
    async def main():
        both = with_fallback(echo("a", 8 * MIB), echo("b", 4 * MIB))
        assert await both.footprint() == Footprint({"cpu": 12 * MIB}, load_peak={"cpu": 16 * MIB})

    asyncio.run(main())


def test_only_chat_models_are_taken():
    for model in (object(), EchoEmbedding(EchoOptions()), None, "gpt"):
        with pytest.raises(ValidationError):
            with_retry(model)


def test_a_model_of_a_lease_can_be_wrapped():
    async def main():
        async with blazen.ModelManager(pools={"cpu": 20 * MIB}, learn=False) as manager:
            await manager.register("a", echo("a"))
            async with manager.lease("a") as model:
                assert (await with_timeout(model, 60).complete("hi")).content == "hi"

    asyncio.run(main())


@pytest.mark.needs("xllamacpp", "starter:chat")
def test_cache_and_fallback_around_a_real_engine(tmp_path):
    async def main():
        real = blazen.Model.xllamacpp("starter:chat", context_length=256, threads=1)
        broken = EchoModel(EchoOptions("broken", fail_at=0))
        model = with_cache(with_fallback(broken, real), tmp_path / "answers.db")
        options = {
            "max_tokens": 24,
            "temperature": 0,
            "logprobs": 1,
            "response_format": {"enum": ["yes", "no"]},
        }
        async with model:
            stream = model.complete_stream("Is water wet?", options)
            pieces = [piece async for piece in stream]
            first = stream.response
            assert first.route.answered == "starter:chat"
            assert first.parsed in ("yes", "no")
            await model.unload()
            again = model.complete_stream("Is water wet?", options)
            assert [piece async for piece in again] == pieces
            assert again.response == first
            assert again.response.parsed == first.parsed
            assert again.response.logprobs
            assert again.route.answered == "cache"
            assert not real.is_loaded
            with pytest.raises((InferenceError, LoadError)):
                await broken.complete("hi")
        await model.aclose()

    asyncio.run(main())
