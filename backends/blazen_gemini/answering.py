"""From the API's responses to the chunks of an answer."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from blazen.errors import BlazenError, OutputError, ProviderError
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
    LikelyToken,
    TokenLogprob,
    ToolCallDelta,
)
from blazen_gemini.contents import STATE

_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "NO_IMAGE",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)
_SPOILT = {
    "MALFORMED_FUNCTION_CALL": "wrote a call of a tool that can't be read",
    "MALFORMED_RESPONSE": "wrote an answer that can't be read",
    "UNEXPECTED_TOOL_CALL": "called a tool that it was not given",
    "TOO_MANY_TOOL_CALLS": "called tools again and again",
}
_SHOWN = frozenset({"content", "index", "finish_reason", "logprobs_result", "continuation_token"})

Priced = Callable[[Iterable[tuple[InferenceUsage, Any]]], "float | None"]


class Answer:
    """An answer as it comes: what was said, and why it ended."""

    def __init__(self, model: str, asked: float, priced: Priced) -> None:
        self.continuation: bytes | None = None
        """What another request goes on with, where one request's answer was not the whole."""
        self.whole = False
        """Whether its end has come."""
        self._model = model
        self._asked = asked
        self._priced = priced
        self._first: float | None = None
        self._reason: str | None = None
        self._blocked = False
        self._calls = 0
        self._text: list[str] = []
        self._usages: list[Any] = []
        self._usage: Any = None
        self._kept: list[dict[str, Any]] = []
        self._pending: list[str] = []
        self._pending_thought = False
        self._state_matters = False
        self._raw: dict[str, Any] = {}
        self._raw_candidate: dict[str, Any] = {}
        self._more: list[dict[str, Any]] = []

    def read(self, response: Any) -> InferenceChunk | None:
        """Give what a response says, where it says something."""
        if response.usage_metadata is not None:
            self._usage = response.usage_metadata  # of this request so far: it replaces
        if response.model_version:
            self._model = response.model_version
        if response.response_id:
            self._raw["responseId"] = response.response_id
        feedback = response.prompt_feedback
        if feedback is not None:
            self._raw["promptFeedback"] = _dumped(feedback)
            self._blocked = self._blocked or feedback.block_reason is not None
        chunk = None
        for candidate in response.candidates or ():
            if candidate.index:
                self._more.append(_dumped(candidate))
            else:
                chunk = self._read(candidate)
        return chunk

    def go_on(self) -> bool:
        """Say whether another request is to go on with the answer, and prepare for it."""
        if self._reason != "CONTINUATION" or self.continuation is None:
            self.whole = self._reason is not None or self._blocked
            return False
        self._reason = None
        self._usages.append(self._usage)
        self._usage = None
        return True

    def end(self) -> InferenceChunk:
        """Give the last chunk: why it ended, what it took, and what has no other place."""
        self._flush()
        raw = self._raw
        candidate = dict(self._raw_candidate)
        if self._reason is not None:
            candidate["finishReason"] = self._reason
        if candidate or self._more:
            raw["candidates"] = [candidate, *self._more]
        if self._usage is not None:
            raw["usageMetadata"] = _dumped(self._usage)
        now = time.monotonic()
        first = self._first
        return InferenceChunk(
            finish_reason=None if self.problem() is not None else self._finish(),
            usage=self._used(),
            timing=InferenceTiming(
                first_token=None if first is None else first - self._asked,
                decode=None if first is None else now - first,
            ),
            model=self._model,
            raw=raw or None,
            state={STATE: self._kept} if self._state_matters else None,
        )

    def problem(self) -> BlazenError | None:
        """Give the error for an answer that ended, and is none."""
        reason = self._reason or ""
        if reason in _SPOILT:
            return OutputError(
                f"{self._model} {_SPOILT[reason]} ({reason}): ask again", text="".join(self._text)
            )
        known = reason in _FILTERED or reason in ("STOP", "MAX_TOKENS", "CONTINUATION")
        if known or (not reason and self._blocked):
            return None
        return ProviderError(
            f"{self._model} broke its answer off and says no more than {reason}",
            provider="gemini",
            status=200,
        )

    def _read(self, candidate: Any) -> InferenceChunk | None:
        if candidate.finish_reason is not None:
            self._reason = str(candidate.finish_reason.value)
            self.continuation = candidate.continuation_token
        if candidate.model_fields_set - _SHOWN:
            self._raw_candidate.update(_dumped(candidate, exclude=_SHOWN))
        content: list[str] = []
        reasoning: list[str] = []
        calls: list[ToolCallDelta] = []
        for part in (candidate.content.parts or ()) if candidate.content is not None else ():
            if part.function_call is not None:
                calls.append(self._call(part.function_call))
                self._keep(part)
            elif part.text is not None:
                (reasoning if part.thought else content).append(part.text)
                self._keep_text(part)
            else:
                self._keep(part, beyond=True)
        logprobs = candidate.logprobs_result
        if not (content or reasoning or calls or logprobs):
            return None
        if self._first is None:
            self._first = time.monotonic()
        self._text += content
        said, thought = "".join(content), "".join(reasoning)
        tokens = _logprobs(logprobs) if logprobs is not None else ()
        if not (said or thought or calls or tokens):
            return None
        return InferenceChunk(
            content=said or None,
            reasoning=thought or None,
            tool_calls=tuple(calls),
            logprobs=tokens,
        )

    def _call(self, call: Any) -> ToolCallDelta:
        index = self._calls
        self._calls += 1
        # Older models give their calls no id.
        known_as = call.id or f"call_{secrets.token_hex(8)}"
        arguments = json.dumps(call.args or {}, ensure_ascii=False)
        return ToolCallDelta(index, known_as, call.name or "", arguments)

    def _keep_text(self, part: Any) -> None:
        """Keep a text for the next request; what is signed stays a part of its own."""
        if part.thought_signature is not None:
            self._keep(part)
            return
        thought = bool(part.thought)
        if thought != self._pending_thought:
            self._flush()
        self._pending_thought = thought
        self._pending.append(part.text)

    def _keep(self, part: Any, *, beyond: bool = False) -> None:
        self._flush()
        dumped = _dumped(part)
        self._kept.append(dumped)
        if beyond or part.thought_signature is not None:
            self._state_matters = True
        if beyond:
            parts = self._raw_candidate.setdefault("content", {"parts": []})["parts"]
            parts.append(dumped)

    def _flush(self) -> None:
        if any(self._pending):
            part: dict[str, Any] = {"text": "".join(self._pending)}
            if self._pending_thought:
                part["thought"] = True
            self._kept.append(part)
        self._pending = []

    def _finish(self) -> FinishReason:
        if self._reason is None or self._reason in _FILTERED:
            return FinishReason.ContentFilter
        if self._reason != "STOP":
            return FinishReason.Length
        return FinishReason.ToolCalls if self._calls else FinishReason.Stop

    def _used(self) -> InferenceUsage | None:
        """Give the counts of all requests that the answer took: each is paid for."""
        told = [usage for usage in (*self._usages, self._usage) if usage is not None]
        if not told:
            return None
        counted = [_counted(usage) for usage in told]
        return InferenceUsage(
            prompt_tokens=sum(usage.prompt_tokens for usage in counted),
            completion_tokens=sum(usage.completion_tokens for usage in counted),
            cached_tokens=sum(usage.cached_tokens for usage in counted),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in counted),
            cost=self._priced(zip(counted, told, strict=True)),
        )


def _counted(usage: Any) -> InferenceUsage:
    def count(*names: str) -> int:
        return sum(getattr(usage, name) or 0 for name in names)

    return InferenceUsage(
        prompt_tokens=count("prompt_token_count", "tool_use_prompt_token_count"),
        completion_tokens=count("candidates_token_count", "thoughts_token_count"),
        cached_tokens=count("cached_content_token_count"),
        reasoning_tokens=count("thoughts_token_count"),
    )


def _logprobs(result: Any) -> tuple[TokenLogprob, ...]:
    chosen = result.chosen_candidates or ()
    tops = [top.candidates or () for top in result.top_candidates or ()]
    tops += [()] * (len(chosen) - len(tops))
    return tuple(
        TokenLogprob(
            token.token or "",
            _certain(token),
            tuple(LikelyToken(other.token or "", _certain(other)) for other in top),
        )
        for token, top in zip(chosen, tops, strict=False)
    )


def _certain(token: Any) -> float:
    return 0.0 if token.log_probability is None else float(token.log_probability)


def _dumped(value: Any, exclude: frozenset[str] | None = None) -> dict[str, Any]:
    """Give a value of the SDK as the API had it."""
    dumped: dict[str, Any] = value.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude=set(exclude or ())
    )
    return dumped
