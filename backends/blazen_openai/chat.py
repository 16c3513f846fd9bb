"""From what Chat Completions answers, whole or in events, to the chunks of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from blazen.types.completion import FinishReason, InferenceChunk, TokenLogprob
from blazen_openai.answer import Answer
from blazen_openai.calls import Calls

_REASONS = {
    "stop": FinishReason.Stop,
    "eos_token": FinishReason.Stop,
    "stop_sequence": FinishReason.Stop,
    "length": FinishReason.Length,
    "max_tokens": FinishReason.Length,
    "model_length": FinishReason.Length,
    "tool_calls": FinishReason.ToolCalls,
    "function_call": FinishReason.ToolCalls,
    "content_filter": FinishReason.ContentFilter,
}
# What our types say; the rest of an answer, an event, a choice and a message is kept.
_TOLD = frozenset({"choices", "object", "model", "error", "obfuscation"})
_CHOICE = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})
_MESSAGE = frozenset({"role", "content", "tool_calls", "reasoning_content", "reasoning", "refusal"})


class ChatAnswer(Answer):
    """One answer of Chat Completions."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._calls = Calls()
        self._finish_reason: FinishReason | None = None

    def whole(self, body: Any) -> Iterator[InferenceChunk]:
        """Read an answer that came in one piece."""
        body = self.checked(body)
        if not body.get("choices"):
            raise self.sdk.malformed(f"an answer without choices: {body!r:.80}")
        choice = self._choice(body["choices"])
        message = self.expect(choice.get("message"), dict, "message")
        self._note(body)
        self.keep(message, _MESSAGE)
        yield self._read(choice, message)
        if self._finish_reason is None:
            raise self.sdk.malformed("an answer without a finish_reason")
        yield self.end(self._reason(), streamed=False)

    def event(self, event: Any) -> InferenceChunk | None:
        """Read one event of a stream."""
        event = self.checked(event)
        choices = event.get("choices")
        if self.model is None or not event.keys() <= _PLAIN or event.get("usage"):
            self._note(event)
        if not choices:
            if choices is None and "usage" not in event and "object" not in event:
                raise self.sdk.malformed(f"an event without choices: {event!r:.80}")
            return None
        choice = self._choice(choices)
        delta = choice.get("delta")
        if delta is None:
            delta = {}
        if not self.expect(delta, dict, "delta").keys() <= _MESSAGE:
            self.keep(delta, _MESSAGE)
        chunk = self._read(choice, delta)
        says = chunk.content or chunk.reasoning or chunk.tool_calls or chunk.logprobs
        return chunk if says else None

    def last(self) -> InferenceChunk:
        """Give the chunk that ends a stream; one that was cut is an error."""
        if self._finish_reason is None:
            raise self.cut()
        return self.end(self._reason(), streamed=True)

    def _choice(self, choices: Any) -> dict[str, Any]:
        choice: dict[str, Any] = self.expect(
            self.expect(choices, list, "choices")[0], dict, "a choice"
        )
        if not choice.keys() <= _CHOICE:
            self.keep(choice, _CHOICE)
        return choice

    def _read(self, choice: Mapping[str, Any], said: Mapping[str, Any]) -> InferenceChunk:
        content, reasoning = self._texts(said.get("content"))
        thought = said.get("reasoning_content") or said.get("reasoning")
        if thought is not None:
            reasoning = (reasoning or "") + self.expect(thought, str, "reasoning")
            if "reasoning_content" in said:
                self.keep_state("reasoning_content", thought)
        refusal = said.get("refusal")
        if refusal:
            content = (content or "") + self.refused(self.expect(refusal, str, "refusal"))
        calls = said.get("tool_calls")
        deltas = () if not calls else tuple(self._calls.read(self, calls))
        logprobs = choice.get("logprobs")
        ended = choice.get("finish_reason")
        if ended is not None:
            self._finish_reason = self._known(ended)
        return self.said(
            content or None,
            reasoning or None,
            deltas,
            () if not logprobs else self._likely(logprobs),
        )

    def _texts(self, content: Any) -> tuple[str | None, str | None]:
        """Give text and reasoning: Mistral's content is a list where it thinks."""
        if content is None or type(content) is str:
            return content, None
        texts, thoughts = [], []
        for part in self.expect(content, list, "content"):
            part = self.expect(part, dict, "a part of content")
            if part.get("type") == "thinking":
                inner = self._texts(part.get("thinking"))[0]
                thoughts.append(inner or "")
            elif isinstance(part.get("text"), str):
                texts.append(part["text"])
            else:
                self.keep({"content": [part]}, frozenset())
        return "".join(texts), "".join(thoughts)

    def _known(self, word: Any) -> FinishReason:
        word = self.expect(word, str, "finish_reason")
        if word == "error":  # OpenRouter's, where a provider failed in the middle
            raise self.sdk.error_inside({"error": {"message": "the provider failed midway"}})
        if word not in _REASONS:
            self.keep({"finish_reason": word}, frozenset())
        return _REASONS.get(word, FinishReason.Stop)

    def _reason(self) -> FinishReason:
        # A call that was required ends with "stop" at OpenAI, and every call does so elsewhere.
        if self._calls and self._finish_reason is FinishReason.Stop:
            return FinishReason.ToolCalls
        return self._finish_reason or FinishReason.Stop

    def _likely(self, logprobs: Any) -> tuple[TokenLogprob, ...]:
        tokens = self.expect(logprobs, dict, "logprobs").get("content") or ()
        return tuple(self.likely(token) for token in self.expect(tokens, (list, tuple), "logprobs"))

    def _note(self, told: Mapping[str, Any]) -> None:
        if isinstance(told.get("model"), str):
            self.model = told["model"]
        usage = told.get("usage")
        if usage:
            self.use(self.expect(usage, dict, "usage"), "prompt", "completion")
        self.keep(told, _TOLD)


_PLAIN = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "obfuscation", "service_tier"}
    | {"system_fingerprint"}
)
