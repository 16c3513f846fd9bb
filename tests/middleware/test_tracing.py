"""Spans of requests, as OpenTelemetry's conventions for generative AI name what they tell."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import dataclass

import pytest

from blazen.errors import InferenceError, ProviderError
from blazen.middleware import with_cache, with_fallback, with_tracing
from blazen.remote.secret import Secret
from blazen.testing import EchoModel, EchoOptions
from blazen.types.chat import ChatMessage, Tool, ToolCall
from blazen.types.image import Image
from tests.middleware.scripted import Scripted, in_virtual_time, texts

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


class Collected:
    def __init__(self):
        self._exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))

    def around(self, model, **given):
        return with_tracing(model, self.provider, **given)

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    @property
    def only(self):
        (span,) = self.spans
        return span


@pytest.fixture
def collected():
    return Collected()


@dataclass(frozen=True)
class Options:
    model: str = "m-1"
    api_key: object = Secret("sk-very-secret")
    base_url: str = "https://example.org:8443/v1"


class Remote(Scripted):
    engine = "google.genai"
    options = Options()


ASKED = {"max_tokens": 5, "temperature": 0.5, "seed": 7, "stop": ["x"], "response_format": "json"}


@pytest.mark.parametrize("streamed", [True, False])
@in_virtual_time
async def test_a_span_tells_what_the_conventions_name(collected, streamed):
    model = collected.around(Remote(["{", "}"]))
    if streamed:
        await texts(model.complete_stream("my question", ASKED))
    else:
        await model.complete("my question", ASKED)
    span = collected.only
    told = dict(span.attributes)
    if streamed:
        assert told.pop("gen_ai.response.time_to_first_chunk") >= 0
        assert told.pop("gen_ai.request.stream") is True
    assert span.name == "chat m-1"
    assert span.kind.name == "CLIENT"
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "m-1",
        "server.address": "example.org",
        "server.port": 8443,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.output.type": "json",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "blazen.outcome": "ok",
    }
    assert "secret" not in span.to_json()


@in_virtual_time
async def test_content_is_there_only_when_it_is_asked_for(collected):
    chat = [
        ChatMessage.system("be kind"),
        ChatMessage.user("look", Image.from_bytes(b"GIF89a\1\0\1\0\0\0\0;")),
        ChatMessage.assistant("", tool_calls=[ToolCall("1", "f", "{}")]),
        ChatMessage.tool("42", tool_call_id="1"),
    ]
    model = collected.around(Remote(["my answer"]), content=True)
    await model.complete(chat, {"tools": [Tool("f")]})
    told = {key: json.loads(value) for key, value in collected.only.attributes.items()
            if isinstance(value, str) and value.startswith("[")}  # fmt: skip
    assert told == {
        "gen_ai.system_instructions": [{"type": "text", "content": "be kind"}],
        "gen_ai.input.messages": [
            {
                "role": "user",
                "parts": [{"type": "text", "content": "look"}, {"type": "image"}],
            },
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "1", "name": "f", "arguments": "{}"}],
            },
            {
                "role": "tool",
                "parts": [{"type": "tool_call_response", "id": "1", "response": "42"}],
            },
        ],
        "gen_ai.tool.definitions": [{"type": "function", "name": "f"}],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": "my answer"}],
                "finish_reason": "stop",
            }
        ],
    }


@pytest.mark.parametrize("script", [[InferenceError("my text"), ...], [InferenceError("my text")]])
@in_virtual_time
async def test_of_an_error_only_its_class_is_told(collected, script):
    model = collected.around(Remote(script))
    for answer in (model.complete("hi"), texts(model.complete_stream("hi"))):
        with pytest.raises(InferenceError):
            await answer
    for span in collected.spans:
        assert span.attributes["error.type"] == "blazen.errors.InferenceError"
        assert not span.status.is_ok
        assert "my text" not in span.to_json()
    assert len(collected.spans) == 2


@pytest.mark.parametrize("way", ["aclose", "break", "drop", "cancel"])
@in_virtual_time
async def test_a_span_ends_however_its_stream_is_left(collected, way):
    stream = collected.around(Remote(["a", 5, "b"])).complete_stream("hi")
    if way == "cancel":
        task = asyncio.create_task(texts(stream))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait((task,))
    elif way == "break":
        async for _ in stream:
            break
    else:
        await anext(stream)
        if way == "aclose":
            await stream.aclose()
        else:
            del stream
            gc.collect()
    await asyncio.sleep(1)
    assert collected.only.attributes["blazen.outcome"] == "cancelled"
    assert collected.only.status.is_unset


@in_virtual_time
async def test_spans_within_and_who_answered(collected):
    failing = Remote([ProviderError("no", provider="p", status=503)])
    inner = [collected.around(failing), collected.around(Scripted(["a"]))]
    outer = collected.around(with_fallback(*inner))
    await outer.complete("hi")
    await texts(outer.complete_stream("hi"))
    first, second, whole, *_ = collected.spans
    assert first.parent.span_id == second.parent.span_id == whole.context.span_id
    assert whole.attributes["blazen.answered_by"] == "Scripted"
    cached = collected.around(with_cache(Scripted(["a"])))
    await cached.complete("hi")
    await cached.complete("hi")
    assert "blazen.answered_by" not in collected.spans[-2].attributes
    assert collected.spans[-1].attributes["blazen.answered_by"] == "cache"


def test_a_model_on_this_machine_is_no_client_call(collected):
    async def main():
        async with EchoModel(EchoOptions("echo")) as model:
            await collected.around(model).complete("hi")

    asyncio.run(main())
    assert collected.only.kind.name == "INTERNAL"
