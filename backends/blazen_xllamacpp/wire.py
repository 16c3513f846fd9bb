"""What blazen asks, as the JSON that llama.cpp's server reads."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Part, Prompt, ToolCall
from blazen.types.completion import CompletionOptions
from blazen.types.image import Image

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
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)
_LARGEST = 2**31 - 1
"""Beyond it the engine would read another number than was written, and one below 0 as no limit."""
_RANDOM = 2**32 - 1
"""The seed that the engine takes for "draw one": it can't be asked for itself."""


def write_options(options: CompletionOptions) -> dict[str, Any]:
    """Write what chat and bare prompts have in common."""
    request: dict[str, Any] = {
        "stream": True,
        "return_progress": True,  # an event for each batch of the prompt: a chance to cancel
        "seed": min(
            secrets.randbelow(_RANDOM) if options.seed is None else options.seed, _RANDOM - 1
        ),
    }
    for name in _SAMPLING:
        value = getattr(options, name)
        if value is not None:
            request[name] = min(value, _LARGEST)
    if options.logit_bias:
        request["logit_bias"] = [[token, bias] for token, bias in options.logit_bias.items()]
    if options.logprobs is not None:
        request["n_probs"] = max(1, options.logprobs)
    one_call = options.tool_choice not in ("auto", "none", "required")
    if options.stop or one_call or not options.parallel_tool_calls:
        # We watch for these and end the request, so the engine's last words never come: the count
        # of tokens must come with each.
        request["timings_per_token"] = True
    return request


def write_chat(messages: Sequence[ChatMessage], options: CompletionOptions) -> dict[str, Any]:
    """Write the part of a request that the engine's own template and parsers work on."""
    request: dict[str, Any] = {"messages": [_write_message(message) for message in messages]}
    if options.tools and options.tool_choice != "none":
        from blazen.chat.writing import write_tool

        request["tools"] = [write_tool(tool) for tool in options.tools]
        request["parallel_tool_calls"] = options.parallel_tool_calls
    return request


def check_request(
    given: Prompt | Sequence[ChatMessage],
    options: CompletionOptions,
    media: Collection[str],
    name: str,
) -> None:
    """Refuse by name what can't be, before any work."""
    if isinstance(given, Prompt):
        if options.tools and options.tool_choice != "none":
            raise UnsupportedError("a Prompt has no place for tools: give messages")
        if options.reasoning is not None:
            raise UnsupportedError("a Prompt has no place for reasoning: give messages")
        return
    for message in given:
        for part in message.parts:
            kind = None if isinstance(part, str) else _kind(part)
            if kind is not None and kind not in media:
                raise UnsupportedError(
                    f"{name} takes no {kind} in messages: leave it out, or load it with the "
                    "projector (mmproj) that belongs to it"
                )


def check_tokens(
    given: Prompt | Sequence[ChatMessage], bias: Mapping[int, float], vocabulary: int
) -> None:
    """Refuse tokens that the model has not: the engine would leave them out without a word."""
    tokens = [*bias, *(given.text if isinstance(given, Prompt) else ())]
    beyond = [token for token in tokens if isinstance(token, int) and token >= vocabulary]
    if vocabulary and beyond:
        raise ValidationError(
            f"there is no token {beyond[0]}: the model's vocabulary ends at {vocabulary - 1}"
        )


def _kind(part: Image | Audio) -> str:
    return "audio" if isinstance(part, Audio) else "image"


def _write_message(message: ChatMessage) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role.value}
    if isinstance(message.content, str):
        written["content"] = message.content
    else:
        written["content"] = [_write_part(part) for part in message.content]
    if message.name:
        written["name"] = message.name
    if message.tool_calls:
        written["tool_calls"] = [_write_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        written["tool_call_id"] = message.tool_call_id
    return written


def _write_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _write_part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Audio):
        import base64

        sound = base64.b64encode(part.to_bytes("wav")).decode("ascii")
        return {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}
    return {"type": "image_url", "image_url": {"url": _data_url(part)}}


def _data_url(image: Image) -> str:
    # What the engine's decoder reads; anything else (WebP, AVIF) is written anew.
    if image.media_type in ("image/png", "image/jpeg", "image/bmp", "image/gif"):
        return image.to_data_url()
    return Image.from_bytes(image.to_bytes("png")).to_data_url()
