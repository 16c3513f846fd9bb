"""OpenTelemetry spans of requests, by its conventions for generative AI (version 1.41)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from blazen.manager.tracing import Span, Tracing
from blazen.middleware.sources import Pieces, Watched, Watcher
from blazen.middleware.wrapping import Joined, M, Way, WrappedModel, around
from blazen.types.chat import ChatMessage, Messages, Prompt, Role, as_messages
from blazen.types.completion import CompletionOptions, InferenceChunk, ModelResponse

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_REQUEST = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
_PROVIDERS = {
    "google.genai": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "azure": "azure.ai.openai",
}
"""Names that the conventions have for what is called otherwise here."""


def with_tracing(
    model: M, tracer_provider: TracerProvider | None = None, *, content: bool = False
) -> M:
    """Give the model with an OpenTelemetry span for each request.

    A span tells the model, the settings, the tokens, how the answer ended and how long its first
    piece took. It never holds a key, and of an error only its class.

    Args:
        model: Any chat model.
        tracer_provider: Where spans go; by default where OpenTelemetry was set up to send them.
        content: Whether spans also hold messages, answers and the tools' descriptions; of an image
            or a sound only that there was one.
    """
    return around(TracedModel, model, tracer_provider, content=content)


class _Requests(Tracing):
    """Makes the spans of requests."""

    def request(self, name: str, *, is_local: bool) -> Span:
        """Begin a span."""
        kinds = self._trace.SpanKind
        return Span(
            self._tracer.start_span(name, kind=kinds.INTERNAL if is_local else kinds.CLIENT)
        )

    def within(self, span: Span) -> Any:
        """Have a span as the parent of those that begin in a block, which does not end it."""
        return self._trace.use_span(
            span.otel, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )


class TracedModel(WrappedModel):
    """A chat model whose requests leave spans."""

    def __init__(
        self, model: Any, tracer_provider: TracerProvider | None, *, content: bool
    ) -> None:
        super().__init__(model)
        self._tracing = _Requests(tracer_provider)
        self._content = content
        self._facts = dict(_facts(model, self.title))

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        span = self._span(messages, options, streamed=False)
        try:
            with self._tracing.within(span):
                answer = await self._inner.complete(messages, options)
            _tell(span, answer, content=self._content)
        except BaseException as error:
            span.end(error)
            raise
        span.end()
        return answer

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        begun = time.monotonic()
        span = self._span(messages, options, streamed=True)
        try:
            with self._tracing.within(span):
                source = await self._inner.open(messages, options, way)
        except BaseException as error:
            span.end(error)
            raise
        return Watched(source, _Tracer(span, way, begun, self._content))

    def _span(self, messages: Messages, options: CompletionOptions, *, streamed: bool) -> Span:
        operation = "text_completion" if isinstance(messages, Prompt) else "chat"
        span = self._tracing.request(f"{operation} {self.title}", is_local=self._inner.is_local)
        if not span.otel.is_recording():
            return span
        span.otel.set_attributes(
            {
                "gen_ai.operation.name": operation,
                **self._facts,
                **dict(_asked(options)),
                **({"gen_ai.request.stream": True} if streamed else {}),
            }
        )
        if self._content:
            span.otel.set_attributes(dict(_said(messages, options)))
        return span


class _Tracer(Watcher):
    """Tells a span of a stream."""

    def __init__(self, span: Span, way: Way, begun: float, content: bool) -> None:
        self._span = span
        self._way = way
        self._begun = begun
        self._content = content
        self._pieces: list[InferenceChunk] = []

    def piece(self, piece: InferenceChunk) -> None:
        if not self._pieces:
            seconds = time.monotonic() - self._begun
            self._span.otel.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
        self._pieces.append(piece)

    def ended(self, error: BaseException | None) -> None:
        answer = Joined.answer(self._pieces, route=self._way.route, whole=error is None)
        if error is not None:  # how it ended is told as that, and not as what the model said
            answer = replace(answer, finish_reason=None)
        _tell(self._span, answer, content=self._content)
        self._span.end(error)


def _facts(model: Any, title: str) -> Iterator[tuple[str, Any]]:
    """Say what is asked, and where it is."""
    yield "gen_ai.request.model", title
    options = getattr(model, "options", None)
    engine = getattr(model, "engine", None)
    provider = getattr(options, "gateway", None) or engine or type(model).__name__
    yield "gen_ai.provider.name", _PROVIDERS.get(provider, str(provider))
    base_url = getattr(model, "base_url", None) or getattr(options, "base_url", None)
    place = urlsplit(base_url if isinstance(base_url, str) else "")
    if place.hostname:
        yield "server.address", place.hostname
        yield "server.port", place.port or {"http": 80}.get(place.scheme, 443)


def _asked(options: CompletionOptions) -> Iterator[tuple[str, Any]]:
    for name, key in _REQUEST.items():
        if (value := getattr(options, name)) is not None:
            yield key, value
    if options.stop:
        yield "gen_ai.request.stop_sequences", tuple(options.stop)
    if options.response_format is not None:
        json_kinds = ("json", "schema")
        yield "gen_ai.output.type", "json" if options.response_format.kind in json_kinds else "text"


def _tell(span: Span, answer: ModelResponse, *, content: bool) -> None:
    if not span.otel.is_recording():
        return
    told: dict[str, Any] = {}
    if answer.finish_reason is not None:
        told["gen_ai.response.finish_reasons"] = (answer.finish_reason.value,)
    if answer.model:
        told["gen_ai.response.model"] = answer.model
    if (usage := answer.usage) is not None:
        told["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        told["gen_ai.usage.output_tokens"] = usage.completion_tokens
        if usage.cached_tokens:
            told["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        if usage.reasoning_tokens:
            told["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
        if usage.cost is not None:
            told["blazen.usage.cost"] = usage.cost
    if content:
        reason = answer.finish_reason.value if answer.finish_reason else ""
        spoken = {**_message(answer.message), "finish_reason": reason}
        if answer.reasoning:
            spoken["parts"].insert(0, {"type": "reasoning", "content": answer.reasoning})
        told["gen_ai.output.messages"] = _json([spoken])
    span.otel.set_attributes(told)
    if answer.route is not None:
        span.set(answered_by=answer.route.answered)


def _said(messages: Messages, options: CompletionOptions) -> Iterator[tuple[str, str]]:
    if isinstance(messages, Prompt):
        text = messages.text if isinstance(messages.text, str) else json.dumps(messages.text)
        chat = [ChatMessage.user(text)]
    else:
        chat = as_messages(messages)
    system = [part for one in chat if one.role is Role.System for part in _message(one)["parts"]]
    if system:
        yield "gen_ai.system_instructions", _json(system)
    others = [_message(one) for one in chat if one.role is not Role.System]
    yield "gen_ai.input.messages", _json(others)
    if options.tools:
        tools = [{"type": "function", **tool.to_dict()} for tool in options.tools]
        yield "gen_ai.tool.definitions", _json(tools)


def _message(message: ChatMessage) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if not isinstance(part, str):
            parts.append({"type": part.kind})
        elif message.role is Role.Tool:
            id = message.tool_call_id  # noqa: A001 - as the conventions name it
            parts.append({"type": "tool_call_response", "id": id, "response": part})
        elif part:
            parts.append({"type": "text", "content": part})
    for call in message.tool_calls:
        named = {"id": call.id, "name": call.name, "arguments": call.arguments}
        parts.append({"type": "tool_call", **named})
    return {"role": message.role.value, "parts": parts}


def _json(value: Any) -> str:
    # Escaped, since half a surrogate pair can't be exported.
    return json.dumps(value, ensure_ascii=True)
