"""What a model can be asked for, and what stands in for what it lacks."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from blazen.errors import ValidationError
from blazen.protocols import embedding
from blazen.types.chat import Messages
from blazen.types.completion import (
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
    ToolCallDelta,
)
from blazen.types.stream import source_of

VERBS = {
    "complete": "complete",
    "complete_stream": "complete_stream",
    "embed": "embed",
    "embed_query": "embed_query",
    "embed_stream": "embed_stream",
    "embed_sparse": "embed_sparse",
    "embed_sparse_query": "embed_sparse_query",
    "embed_tokens": "embed_tokens",
    "embed_tokens_query": "embed_tokens_query",
    "embed_images": "embed_images",
    "rerank": "rerank",
    "transcribe": "transcribe",
    "transcribe_stream": "transcribe_stream",
    "speak": "speak",
    "speak_stream": "speak_stream",
    "generate_image": "generate",
    "generate_image_stream": "generate_stream",
    "image_to_mesh": "image_to_mesh",
    "image_to_mesh_stream": "image_to_mesh_stream",
}
"""What a manager can be asked for, and the method of a model that does it."""


def abilities(model: Any) -> tuple[dict[str, Callable[..., Any]], bool]:
    """Give what a model can be asked for, and whether it runs on this machine."""
    can = {}
    for verb, name in VERBS.items():
        method = getattr(model, name, None)
        if callable(method):
            can[verb] = method
    if not can:
        raise ValidationError(
            f"{model!r:.80} is no model: it has none of {', '.join(sorted(set(VERBS.values())))}"
        )
    if "complete" in can and "complete_stream" not in can:
        can["complete_stream"] = _in_one_piece(can["complete"])
    elif "complete_stream" in can and "complete" not in can:
        can["complete"] = _collected(can["complete_stream"])
    if "embed" in can:
        embed = can["embed"]
        can.setdefault("embed_query", embed)
        can.setdefault("embed_stream", functools.partial(embedding.stream, embed))
    lifecycle = [name for name in ("load", "unload", "is_loaded") if hasattr(model, name)]
    if lifecycle and len(lifecycle) < 3:
        raise ValidationError(
            f"{model!r:.80} has {' and '.join(lifecycle)} but not all of load, unload and "
            "is_loaded: a model on this machine needs them all, one elsewhere none"
        )
    return can, bool(lifecycle)


def innermost(model: Any) -> Any:
    """Give the model that others are wrapped around; it is the one that takes memory."""
    while (inner := getattr(model, "wrapped", None)) is not None:
        model = inner
    return model


def _in_one_piece(complete: Callable[..., Any]) -> Callable[..., InferenceChunkStream]:
    """Make a stream of a chat model's whole answers."""

    def stream(messages: Messages, options: Any = None) -> InferenceChunkStream:
        async def pieces() -> AsyncIterator[InferenceChunk]:
            answer: ModelResponse = await complete(messages, options)
            yield InferenceChunk(
                content=answer.content,
                reasoning=answer.reasoning,
                tool_calls=tuple(
                    ToolCallDelta(place, call.id, call.name, call.arguments)
                    for place, call in enumerate(answer.tool_calls)
                ),
                finish_reason=answer.finish_reason,
                usage=answer.usage,
            )

        return InferenceChunkStream.of(pieces())

    return stream


def _collected(stream: Callable[..., Any]) -> Callable[..., Awaitable[ModelResponse]]:
    """Make whole answers of a chat model's streams."""

    async def complete(messages: Messages, options: Any = None) -> ModelResponse:
        found = InferenceChunkStream(lambda: source_of(stream(messages, options)))
        return await found.collect()

    return complete
