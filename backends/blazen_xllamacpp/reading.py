"""What llama.cpp's server says while it answers, as the chunks of an answer."""

from __future__ import annotations

from typing import Any, Protocol

from blazen.chat.reader import AnswerReader
from blazen.chat.sink import Sink, new_id
from blazen.errors import (
    BlazenError,
    ContextLengthError,
    InferenceError,
    OutputError,
    ValidationError,
)
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
    LikelyToken,
    TokenLogprob,
    ToolCallDelta,
)


class Reader(Protocol):
    """Reads the events of one answer."""

    @property
    def ended(self) -> FinishReason | None:
        """Why no more is wanted, before the engine itself has come to an end."""

    def feed(self, choice: dict[str, Any]) -> list[InferenceChunk]:
        """Read what came."""

    def finish(self, reason: FinishReason) -> list[InferenceChunk]:
        """Give what was held back, and at last a chunk with the reason."""


class ParsedReader:
    """Reads an answer that the engine's own parser has split into its parts.

    The engine's watch for stop texts is not used: what it holds back is lost when ``max_tokens``
    comes first, and it looks into reasoning and calls as well.
    """

    def __init__(self, stop: tuple[str, ...], *, parallel: bool, must_call: bool) -> None:
        self._sink = Sink(stop)
        self._parallel = parallel
        self._must_call = must_call
        self._calls = 0
        self.ended: FinishReason | None = None

    def feed(self, choice: dict[str, Any]) -> list[InferenceChunk]:
        """Read a delta."""
        delta = choice.get("delta") or {}
        chunks: list[InferenceChunk] = []
        if delta.get("reasoning_content"):
            chunks.append(InferenceChunk(reasoning=delta["reasoning_content"]))
        if delta.get("content"):
            self._sink.content(delta["content"])
            chunks += self._sink.take()
        if calls := delta.get("tool_calls"):
            self._sink.flush()
            chunks += self._sink.take()
            for call in calls:
                read = self._read_call(call)
                if self.ended is not None:
                    return chunks
                chunks.append(InferenceChunk(tool_calls=(read,)))
        self.ended = self._sink.ended
        return chunks

    def _read_call(self, call: dict[str, Any]) -> ToolCallDelta:
        index, function = int(call.get("index", 0)), call.get("function") or {}
        first = index >= self._calls
        if first and self._calls and not self._parallel:
            self.ended = FinishReason.ToolCalls
        self._calls = max(self._calls, index + 1)
        return ToolCallDelta(
            index,
            (call.get("id") or new_id()) if first else None,
            function.get("name") or None,
            function.get("arguments") or "",
        )

    def finish(self, reason: FinishReason) -> list[InferenceChunk]:
        """Give what was held back."""
        self._sink.flush()
        if self._must_call and not self._calls and reason is not FinishReason.Length:
            raise OutputError("the model was to call a tool and called none: ask again", text="")
        if self._calls and reason is FinishReason.Stop and self.ended is None:
            reason = FinishReason.ToolCalls
        return [*self._sink.take(), InferenceChunk(finish_reason=reason)]


class TextReader:
    """Reads generated text: by the plan for a conversation, or as it is for a bare prompt."""

    def __init__(
        self, stop: tuple[str, ...], plan: AnswerReader | None = None, logprobs: int | None = None
    ) -> None:
        self._sink = Sink(stop)
        self._plan = plan
        self._top = logprobs
        self._likely: list[TokenLogprob] = []

    @property
    def ended(self) -> FinishReason | None:
        """Why no more is wanted."""
        return self._sink.ended if self._plan is None else self._plan.ended

    def feed(self, choice: dict[str, Any]) -> list[InferenceChunk]:
        """Read a piece of text."""
        if self._top is not None and choice.get("logprobs"):
            self._likely += [_read_token(t, self._top) for t in choice["logprobs"]["content"]]
        text = choice.get("text") or ""
        if self._plan is not None:
            return self._with_likely(self._plan.feed(text.encode()) if text else [])
        self._sink.content(text)
        return self._with_likely(self._sink.take())

    def finish(self, reason: FinishReason) -> list[InferenceChunk]:
        """Give what was held back."""
        if self._plan is not None:
            return self._with_likely(self._plan.finish(reason))
        self._sink.flush()
        return self._with_likely([*self._sink.take(), InferenceChunk(finish_reason=reason)])

    def _with_likely(self, chunks: list[InferenceChunk]) -> list[InferenceChunk]:
        if chunks and self._likely:
            chunks[0].logprobs = tuple(self._likely)
            self._likely.clear()
        return chunks


def read_usage(timings: dict[str, Any]) -> InferenceUsage:
    """Give how many tokens a request took."""
    cached = int(timings.get("cache_n", 0))
    prompt = cached + int(timings.get("prompt_n", 0))
    return InferenceUsage(prompt, int(timings.get("predicted_n", 0)), cached)


def read_timing(timings: dict[str, Any], first_token: float | None) -> InferenceTiming:
    """Give how long it took."""
    several = timings.get("predicted_n", 0) > 1
    return InferenceTiming(
        first_token=first_token,
        prompt=_seconds(timings.get("prompt_ms")),
        decode=_seconds(timings.get("predicted_ms")),
        tokens_per_second=timings.get("predicted_per_second") if several else None,
    )


def read_error(error: dict[str, Any]) -> BlazenError:
    """Give the error that the engine means."""
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


def _read_token(token: dict[str, Any], top: int) -> TokenLogprob:
    likely = tuple(
        LikelyToken(str(other["token"]), float(other["logprob"]))
        for other in token.get("top_logprobs", ())[:top]
    )
    return TokenLogprob(str(token["token"]), float(token["logprob"]), likely)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
