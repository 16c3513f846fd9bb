"""An answer on its way from the model to the user."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from blazen.cli.progress import progress

if TYPE_CHECKING:
    from blazen.protocols.model import Model
    from blazen.types.chat import ChatMessage
    from blazen.types.completion import CompletionOptions, ModelResponse


class Shown(Protocol):
    """What pieces of an answer are shown by."""

    def content(self, text: str) -> None:
        """Take the next piece of the answer."""

    def reasoning(self, text: str) -> None:
        """Take the next piece of what the model reasons before it answers."""

    def end(self) -> None:
        """Hear that no more comes: it is whole, or was stopped."""


async def load(model: Any) -> float:
    """Load a model that runs here, with a bar where it takes a while; give the seconds it took."""
    begun = time.perf_counter()
    if hasattr(model, "load"):
        with progress() as report:
            await model.load(on_progress=report)
    return time.perf_counter() - begun


async def stream_answer(
    model: Model,
    messages: Sequence[ChatMessage],
    options: CompletionOptions,
    shown: Shown,
    kept: Callable[[ModelResponse], None],
) -> ModelResponse:
    """Show an answer as it comes, and give it whole.

    ``kept`` is told what came, whole or not: a cancelled answer too, before the cancelling goes on.
    """
    stream = model.complete_stream(list(messages), options)
    try:
        async with stream:
            async for chunk in stream:
                if chunk.reasoning:
                    shown.reasoning(chunk.reasoning)
                if chunk.content:
                    shown.content(chunk.content)
    finally:
        shown.end()
        kept(stream.response)
    return stream.response


def timings(answer: ModelResponse, load_seconds: float | None = None) -> list[str]:
    """Word how long an answer took, for people."""
    words = [] if load_seconds is None else [f"load {load_seconds:.2f} s"]
    usage, timing = answer.usage, answer.timing
    if timing is not None and timing.first_token is not None:
        words.append(f"first token {timing.first_token:.2f} s")
    if usage is not None:
        cached = f" ({usage.cached_tokens} of them known)" if usage.cached_tokens else ""
        took = f" in {timing.prompt:.2f} s" if timing is not None and timing.prompt else ""
        words.append(f"prompt {usage.prompt_tokens} tokens{cached}{took}")
        took = f" in {timing.decode:.2f} s" if timing is not None and timing.decode else ""
        words.append(f"answer {usage.completion_tokens} tokens{took}")
        if usage.cost is not None:
            words.append(f"cost ${usage.cost:.6f}")
    if timing is not None and timing.tokens_per_second:
        words.append(f"{timing.tokens_per_second:.1f} tokens/s")
    if answer.finish_reason is not None:
        words.append(f"ended by {answer.finish_reason.value}")
    return words
