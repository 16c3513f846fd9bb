"""Anthropic's own SDK against a server that speaks its API: the suites, and every fault."""

from __future__ import annotations

import pytest

pytest.importorskip("anthropic")

from blazen import AnthropicOptions, AnthropicProvider
from blazen.testing import ModelSuite
from tests.remote.misbehaving import serving_apart
from tests.wire.anthropic import KEY, AnthropicWire, stream_events, written
from tests.wire.faults import FAULTS, Speech, check

WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [{"type": "text", "text": "Good day to you."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 4},
}
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def provider(url: str, model: str = "claude-haiku-4-5", **settings) -> AnthropicProvider:
    # The SDK takes seconds to gather an event of many megabytes.
    settings = {"api_key": KEY, "max_bytes": "4MiB", **settings}
    return AnthropicProvider(AnthropicOptions(model, base_url=url, **settings))


def refusal(status: int, message: str) -> dict:
    kind = KINDS.get(status, "overloaded_error" if status == 529 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


EVENTS = [written(event).decode() for event in stream_events(WHOLE)]
SPEECH = Speech(
    name="anthropic",
    model=provider,
    whole=WHOLE,
    # A message begins with what says nothing yet.
    events=("".join(EVENTS[:4]), *EVENTS[4:]),
    refusal=refusal,
    error_event=written(refusal(529, "Overloaded")).decode(),
    odd={**WHOLE, "content": [{"type": "text", "text": 5}], "usage": {"input_tokens": "many"}},
    odd_event=written({**next(stream_events(WHOLE)), "message": [1, 2]}).decode(),
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_goes_wrong_is_the_right_error_and_leaves_nothing(fault, streamed):
    await check(SPEECH, fault, streamed=streamed)


class AnthropicSuite(ModelSuite):
    samples = False
    limit_seconds = 60.0
    too_long_prompt = "word " * 6_000

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        with serving_apart(AnthropicWire(repeat=20, pause=0.001)) as server:
            yield server.url


class TestCurrentApi(AnthropicSuite):
    """As it is: without a temperature."""

    def options(self, max_tokens, **more):
        more.pop("temperature", None)
        return {"max_tokens": max_tokens, **more}

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, url):
        return provider(url, "claude-haiku-5-5")


class TestOlderApi(AnthropicSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, url):
        return provider(url, version="2023-06-01")
