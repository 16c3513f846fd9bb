"""Between blazen's types and the JSON of llama.cpp's server."""

from __future__ import annotations

from typing import Any

from blazen.errors import (
    BlazenError,
    ContextLengthError,
    InferenceError,
    UnsupportedError,
    ValidationError,
)
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Part, Role
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
)

_SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)


def write_request(messages: list[ChatMessage], options: CompletionOptions) -> dict[str, Any]:
    """Write a request; what the engine can't do is refused here, before any work."""
    request: dict[str, Any] = {
        "messages": [_write_message(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # an event for each batch of the prompt: a chance to cancel
    }
    for name in _SAMPLING:
        value = getattr(options, name)
        if value is not None:
            request[name] = value
    if options.stop:
        request["stop"] = list(options.stop)
    if options.logit_bias:
        request["logit_bias"] = [[token, bias] for token, bias in options.logit_bias.items()]
    uses_tools = options.tools or options.tool_choice not in ("auto", "none")
    if uses_tools or any(m.tool_calls or m.role is Role.Tool for m in messages):
        # With a template that knows no tools the engine answers as if there were none.
        raise UnsupportedError("the 'xllamacpp' backend takes no tools yet: leave them out")
    return request


def read_chunk(event: dict[str, Any], first_token: float | None) -> InferenceChunk | None:
    """Read an event of the stream; ``None`` for one that carries nothing."""
    if "error" in event:
        raise _read_error(event["error"])
    usage = event.get("usage")
    if usage is not None:
        return InferenceChunk(
            usage=InferenceUsage(
                prompt_tokens=usage["prompt_tokens"],
                completion_tokens=usage["completion_tokens"],
                cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
            ),
            timing=_read_timing(event.get("timings") or {}, first_token),
        )
    choice = event["choices"][0]
    delta = choice["delta"]
    chunk = InferenceChunk(
        content=delta.get("content"),
        reasoning=delta.get("reasoning_content"),
        finish_reason=FinishReason(choice["finish_reason"]) if choice["finish_reason"] else None,
    )
    return chunk if chunk.content or chunk.reasoning or chunk.finish_reason else None


def _write_message(message: ChatMessage) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role.value}
    if isinstance(message.content, str):
        written["content"] = message.content
    else:
        written["content"] = [_write_part(part) for part in message.content]
    if message.name:
        written["name"] = message.name
    return written


def _write_part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    what = "audio" if isinstance(part, Audio) else "images"
    raise UnsupportedError(f"the 'xllamacpp' backend takes no {what} in messages yet: leave it out")


def _read_timing(timings: dict[str, Any], first_token: float | None) -> InferenceTiming:
    return InferenceTiming(
        first_token=first_token,
        prompt=_seconds(timings.get("prompt_ms")),
        decode=_seconds(timings.get("predicted_ms")),
        tokens_per_second=timings.get("predicted_per_second"),
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _read_error(error: dict[str, Any]) -> BlazenError:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        tokens, limit = int(error["n_prompt_tokens"]), int(error["n_ctx"])
        return ContextLengthError(
            f"the prompt has {tokens} tokens and the context holds {limit}: shorten it, or load "
            "the model with a larger context_length",
            tokens=tokens,
            limit=limit,
        )
    if error.get("code") == 400:
        return ValidationError(f"llama.cpp refused the request: {message}")
    return InferenceError(f"llama.cpp failed: {message}")
