"""What answers of both of OpenAI's APIs have in common: usage, likelihoods, what is beyond us."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from blazen.errors import OutputError, ProviderError
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
    LikelyToken,
    TokenLogprob,
    ToolCallDelta,
)
from blazen_openai.gateway import Gateway

if TYPE_CHECKING:
    from blazen.remote.prices import Price
    from blazen.remote.sdk import Sdk

_LETTERS_PER_TOKEN = 4


class Answer:
    """One answer on its way: what it said so far beside its text."""

    def __init__(
        self,
        sdk: Sdk[Any],
        gateway: Gateway,
        asked: Mapping[str, Any],
        options: CompletionOptions,
        *,
        price: Price | None,
    ) -> None:
        self.sdk = sdk
        self.model: str | None = None
        self._gateway = gateway
        self._asked = asked
        self._most_tokens = options.max_tokens
        self._shaped = options.response_format is not None
        self._must_call = bool(options.tools) and options.tool_choice not in ("auto", "none")
        self._named = options.tool_choice if options.tool_choice != "required" else None
        self._price = price
        self._began = time.monotonic()
        self._first: float | None = None
        self._letters = 0
        self._called: set[str] = set()
        self._said: list[str] = []
        self._usage: InferenceUsage | None = None
        self._refusal = ""
        self._raw: dict[str, Any] = {}
        self._state: dict[str, Any] = {}

    def checked(self, told: Any) -> dict[str, Any]:
        """Give an answer or event that is an object and tells of no error."""
        if type(told) is not dict:
            raise self.sdk.malformed(f"{told!r:.80} where an object was expected")
        if told.get("error"):
            raise self.sdk.error_inside(told)
        return told

    def expect(self, value: Any, kind: type | tuple[type, ...], what: str) -> Any:
        """Give a value of an answer, which must be of its type."""
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.sdk.malformed(f"{what} is {value!r:.80}")
        return value

    def said(
        self,
        content: str | None,
        reasoning: str | None,
        calls: tuple[ToolCallDelta, ...],
        logprobs: tuple[TokenLogprob, ...],
    ) -> InferenceChunk:
        """Give a piece of the answer."""
        if self._first is None and (content or reasoning or calls):
            self._first = time.monotonic()
        self._letters += len(content or "") + len(reasoning or "")
        if content and self._must_call:
            self._said.append(content)
        for call in calls:
            self._called.add(call.name or "")
            self._letters += len(call.arguments)
        return InferenceChunk(content, reasoning, calls, logprobs)

    def refused(self, text: str) -> str:
        """Hear that the model says why it does not answer."""
        self._refusal += text
        return text

    def end(self, reason: FinishReason, *, streamed: bool) -> InferenceChunk:
        """Give the last chunk: why it ended, what it took, and all that is beyond our types."""
        if self._refusal:
            self._raw["refusal"] = self._refusal
            if self._shaped:
                raise OutputError(f"the model refuses: {self._refusal}", text=self._refusal)
            if reason is FinishReason.Stop:
                reason = FinishReason.ContentFilter
        if self._must_call:
            self._expect_call(reason)
        usage = self._usage or self._estimate()
        if not self._at_list_price():
            usage = replace(usage, cost=None)
        return InferenceChunk(
            finish_reason=reason,
            usage=usage,
            timing=self._timing(usage.completion_tokens) if streamed else None,
            model=self.model,
            raw=self._raw or None,
            state={self._gateway.name: self._state} if self._state else None,
        )

    def _expect_call(self, reason: FinishReason) -> None:
        others = self._called - {"", self._named}
        if self._called and (self._named is None or not others):
            return
        if not self._called and reason is not FinishReason.Stop:
            return
        called = f"{', '.join(sorted(others))} was called" if others else "no tool was called"
        raise OutputError(
            f"{called}, though {self._named or 'one'} was required: {self._gateway.title} does not "
            "hold this model to it",
            text="".join(self._said),
        )

    def _timing(self, tokens: int) -> InferenceTiming:
        now = time.monotonic()
        first = now if self._first is None else self._first
        decode = now - first
        return InferenceTiming(
            first_token=first - self._began,
            decode=decode,
            tokens_per_second=tokens / decode if decode > 0 else None,
        )

    def cut(self) -> ProviderError:
        """Give the error for a stream that ended before its answer did."""
        return self.sdk.malformed("a stream that ends before the answer does")

    def keep(self, told: Mapping[str, Any], known: frozenset[str]) -> None:
        """Keep what our types don't say: the last value of a field, lists and texts joined."""
        for name, value in told.items():
            if name in known or value is None:
                continue
            before = self._raw.get(name)
            if isinstance(before, list) and isinstance(value, list) and before != value:
                value = [*before, *value]
            self._raw[name] = value

    def keep_state(self, name: str, text: str) -> None:
        """Keep a text that is wanted back with the next request."""
        if name in self._gateway.keeps:
            self._state[name] = self._state.get(name, "") + text

    def use(self, usage: Mapping[str, Any], prompt: str, completion: str) -> None:
        """Read how many tokens it took; a later report takes the place of an earlier one."""
        read = self._count(usage, f"{prompt}_tokens")
        wrote = self._count(usage, f"{completion}_tokens")
        details = usage.get(f"{completion}_tokens_details") or {}
        reasoned = self._count(self.expect(details, dict, "usage"), "reasoning_tokens")
        if reasoned and usage.get("total_tokens") == read + wrote + reasoned:
            wrote += reasoned  # counted apart there
        inputs = self.expect(usage.get(f"{prompt}_tokens_details") or {}, dict, "usage")
        cached = self._count(inputs, "cached_tokens") or self._count(
            usage, "prompt_cache_hit_tokens"
        )
        written = self._count(inputs, "cache_write_tokens")
        self._usage = InferenceUsage(
            read,
            wrote,
            cached,
            reasoning_tokens=reasoned,
            cost=self._cost(usage, read, wrote, cached, written),
        )

    def likely(self, told: Any) -> TokenLogprob:
        """Read a token with its likelihood."""
        token = self.expect(told, dict, "a token of logprobs")
        top = [self._token(other) for other in token.get("top_logprobs") or ()]
        top.sort(key=lambda other: -other.logprob)
        mine = self._token(token)
        return TokenLogprob(mine.text, mine.logprob, tuple(top))

    def _token(self, told: Any) -> LikelyToken:
        token = self.expect(told, dict, "a token of logprobs")
        logprob = self.expect(token.get("logprob"), (int, float), "a logprob")
        if not math.isfinite(logprob):
            raise self.sdk.malformed(f"a logprob is {logprob}")
        return LikelyToken(self.expect(token.get("token"), str, "a token"), min(0.0, logprob))

    def _count(self, holder: Mapping[str, Any], name: str) -> int:
        value = holder.get(name)
        count: int = self.expect(0 if value is None else value, int, name)
        return count

    def _cost(
        self, usage: Mapping[str, Any], read: int, wrote: int, cached: int, written: int
    ) -> float | None:
        told: Any = usage if self._gateway.cost else None
        for name in self._gateway.cost:
            told = told.get(name) if isinstance(told, Mapping) else None
        if isinstance(told, (int, float)) and not isinstance(told, bool):
            return float(told)
        if self._price is None:
            return None
        return self._price.cost(read, wrote, cached=cached, written=written)

    def _at_list_price(self) -> bool:
        """Say whether the table's price holds: not for other tiers, nor for the API's own tools."""
        usual = self._raw.get("service_tier") in (None, "default", "auto", "standard")
        return bool(self._gateway.cost) or (usual and "output" not in self._raw)

    def _estimate(self) -> InferenceUsage:
        """Count where the server did not: in round numbers, and marked as such."""
        prompt = _letters(self._asked.get("messages", self._asked.get("input")))
        wrote = max(1, self._letters // _LETTERS_PER_TOKEN) if self._letters else 0
        most = self._most_tokens
        return InferenceUsage(
            max(1, prompt // _LETTERS_PER_TOKEN),
            wrote if most is None else min(wrote, most),
            estimated=True,
        )


def _letters(told: Any) -> int:
    """Count the letters of what was asked; of images and audio nothing is known."""
    if isinstance(told, str):
        return 0 if told.startswith("data:") else len(told)
    if isinstance(told, Mapping):
        return sum(_letters(told.get(name)) for name in ("content", "text", "arguments", "output"))
    if isinstance(told, list):
        return sum(map(_letters, told))
    return 0
