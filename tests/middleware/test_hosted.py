"""Middleware around models that providers run: entered, closed and named as they are."""

from __future__ import annotations

import asyncio
import logging

import pytest

from blazen import HostedModel, LocalModel, Model
from blazen.errors import ProviderError, TimeoutError  # noqa: A004 - the name that users expect
from blazen.middleware import (
    with_cache,
    with_fallback,
    with_hooks,
    with_limits,
    with_retry,
    with_timeout,
    with_tracing,
)
from blazen.testing import EchoModel
from tests.middleware.scripted import Scripted, in_virtual_time, now
from tests.remote.misbehaving import serving

for sdk in ("openai", "anthropic", "google.genai"):
    pytest.importorskip(sdk)

from tests.wire import openai_media  # noqa: E402
from tests.wire.every import EveryProvider  # noqa: E402

WRAPPERS = {
    "retry": with_retry,
    "cache": with_cache,
    "timeout": lambda model: with_timeout(model, 60),
    "limits": lambda model: with_limits(model, concurrent=4),
    "hooks": with_hooks,
    "fallback": lambda model: with_fallback(model, Scripted(["no"])),
}


def _traced(model):
    pytest.importorskip("opentelemetry.trace")
    return with_tracing(model)


def _stacked(model):
    for wrap in WRAPPERS.values():
        model = wrap(model)
    return model


class Connected(Scripted):
    """Runs elsewhere, and has something to close."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("wrap", [*WRAPPERS.values(), _traced, _stacked])
@in_virtual_time
async def test_a_wrapped_one_is_entered_and_closed(wrap):
    inner = Connected(["yes"])
    model = wrap(inner)
    assert isinstance(model, HostedModel)
    assert not isinstance(model, LocalModel)
    async with model as entered:
        assert entered is model
        assert (await model.complete("hi")).content == "yes"
        assert inner.closed == 0
    assert inner.closed == 1
    await model.aclose()
    assert inner.closed == 2


@in_virtual_time
async def test_what_has_nothing_to_close_is_as_it_was():
    assert not isinstance(with_retry(Scripted(["yes"])), HostedModel)
    async with with_cache(Scripted(["yes"])) as model:
        assert (await model.complete("hi")).content == "yes"


def test_of_local_and_hosted_ones_together_each_is_left_in_its_way():
    async def main():
        local, hosted = EchoModel(), Connected(["yes"])
        async with with_fallback(hosted, local):
            assert local.is_loaded
        assert not local.is_loaded
        assert hosted.closed == 1

    asyncio.run(main())


@pytest.mark.needs("openai")
async def test_a_hosted_one_is_entered_asked_and_closed():
    async with serving(EveryProvider()) as server:
        hosted = Model.openai(base_url=server.url, api_key=openai_media.KEY, gateway="openai")
        async with with_cache(with_retry(hosted)) as model:
            await model.complete("Hello", {"max_tokens": 5})
            assert server.connected == 1
        await asyncio.wait_for(server.until_all_left(), 5)


@pytest.mark.needs("openai", "anthropic")
async def test_without_a_name_it_is_called_by_its_model():
    openai = Model.openai(api_key="k", base_url="http://127.0.0.1:9/v1", retry={"times": 0})
    anthropic = Model.anthropic(api_key="k", base_url="http://127.0.0.1:9", retry={"times": 0})
    heard = []
    both = with_fallback(openai, anthropic)
    model = with_hooks(both, on_request=lambda call: heard.append(call.model))
    with pytest.raises(ProviderError) as raised:
        await model.complete("Hello")
    assert heard == [f"{openai.model} or {anthropic.model}"]
    assert raised.value.__notes__[0].startswith(f"before it, {openai.model} failed: ProviderError")
    await both.aclose()


@pytest.mark.needs("openai")
@in_virtual_time
async def test_a_timeout_calls_it_so_too():
    class Silent(Scripted):
        options = Model.openai(api_key="k").options
        model = "gpt-of-today"

    with pytest.raises(TimeoutError, match=r"^gpt-of-today: "):
        await with_timeout(Silent([60, "late"]), 1).complete("hi")
    assert now() == 1


@in_virtual_time
async def test_where_all_fail_the_last_error_tells_of_the_others(caplog):
    first = ProviderError("no key", provider="p", status=401)
    second = ProviderError("no credit", provider="q", status=402)
    below = OSError("refused")
    last = ConnectionError("gone")
    last.__cause__ = below
    model = with_fallback(Scripted([first]), Scripted([second, ...]), Scripted([last]))
    notes = [
        "before it, Scripted (1) failed: ProviderError: no key",
        "before it, Scripted (2) failed: ProviderError: no credit",
    ]
    for _ in range(2):  # the very same errors once more: nothing is told twice
        for request in (model.complete, lambda text: model.complete_stream(text).collect()):
            with caplog.at_level(logging.CRITICAL), pytest.raises(ConnectionError) as raised:
                await request("hi")
            assert raised.value is last
            assert last.__cause__ is below
            assert below.__cause__ is second
            assert second.__cause__ is first
            assert first.__cause__ is None
            assert last.__notes__ == notes


@in_virtual_time
async def test_one_error_that_all_raise_is_told_once():
    busy = ProviderError("busy", provider="p", status=503)
    with pytest.raises(ProviderError):
        await with_fallback(Scripted([busy]), Scripted([busy])).complete("hi")
    assert busy.__cause__ is None
