"""What an answer tells beside its text: tokens, times and likelihoods, as OpenAI's API has them."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel

from blazen.types.completion import (
    FinishReason,
    InferenceTiming,
    ModelResponse,
    TokenLogprob,
)

_LOWEST = -9999.0
"""What stands for "next to impossible": JSON has no infinity."""
_CUT = "\ufffd"
"""What a token shows that holds a part of a character."""


class PromptDetails(BaseModel):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionDetails(BaseModel):
    """Of the answer's tokens."""

    reasoning_tokens: int


class Usage(BaseModel):
    """How many tokens a request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class Timings(BaseModel):
    """How long it took, in milliseconds; what the engine does not tell is ``null``."""

    first_token_ms: float | None
    prompt_ms: float | None
    decode_ms: float | None
    tokens_per_second: float | None


class Likely(BaseModel):
    """A token that could have come."""

    token: str
    logprob: float
    bytes: list[int] | None
    """Its text in UTF-8; ``null`` where it holds a part of a character."""


class Likelihood(Likely):
    """A token of the answer, and the likeliest in its place."""

    top_logprobs: list[Likely]


class Likelihoods(BaseModel):
    """The tokens of an answer."""

    content: list[Likelihood] | None
    refusal: list[Likelihood] | None = None


def new_id(kind: str) -> str:
    """Make an id for an answer."""
    return f"{kind}-{secrets.token_hex(12)}"


@functools.cache
def fingerprint() -> str:
    """Say what computed the answer: a seed gives the same text where this is the same."""
    try:
        return f"blazen-{version('blazen')}"
    except PackageNotFoundError:  # a checkout that is not installed
        return "blazen"


def now() -> int:
    """Give the time as the API writes it."""
    return int(time.time())


def usage_of(answers: Iterable[ModelResponse]) -> dict[str, Any] | None:
    """Add up what answers took; those to one prompt count it once."""
    used = [answer.usage for answer in answers if answer.usage is not None]
    if not used:
        return None
    return usage_dict(
        used[0].prompt_tokens,
        sum(one.completion_tokens for one in used),
        used[0].cached_tokens,
        sum(one.reasoning_tokens for one in used),
    )


def usage_dict(prompt: int, completion: int, cached: int, reasoning: int) -> dict[str, Any]:
    """Write a count of tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def timings_of(answers: Sequence[ModelResponse]) -> dict[str, Any] | None:
    """Tell how long an answer took; of several at once that would say little."""
    timing = answers[0].timing if len(answers) == 1 else None
    return None if timing is None else timing_dict(timing)


def timing_dict(timing: InferenceTiming) -> dict[str, Any]:
    """Write how long an answer took."""
    rate = timing.tokens_per_second
    return {
        "first_token_ms": _milliseconds(timing.first_token),
        "prompt_ms": _milliseconds(timing.prompt),
        "decode_ms": _milliseconds(timing.decode),
        "tokens_per_second": None if rate is None else round(rate, 2),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def reason_of(answer: ModelResponse) -> str:
    """Say why an answer ended, in the API's words."""
    reason = answer.finish_reason
    if reason is None or reason is FinishReason.Cancelled:
        return FinishReason.Stop.value
    return str(reason.value)


def likelihoods(tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
    """Write how likely tokens were, as chats have it."""
    return {
        "content": [
            {
                **_likely(token.text, token.logprob),
                "top_logprobs": [_likely(other.text, other.logprob) for other in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def _likely(text: str, logprob: float) -> dict[str, Any]:
    return {
        "token": text,
        "logprob": max(logprob, _LOWEST),
        "bytes": None if _CUT in text else list(text.encode("utf-8", "replace")),
    }


class Offsets:
    """Writes likelihoods as ``/v1/completions`` has it: columns, with each token's place."""

    def __init__(self, before: int = 0) -> None:
        self._text = ""
        self._before = before
        self._at = 0

    def columns(self, text: str, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """Write the tokens that came with a piece of text."""
        self._text += text
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [max(token.logprob, _LOWEST) for token in tokens],
            "top_logprobs": [
                {other.text: max(other.logprob, _LOWEST) for other in token.top} for token in tokens
            ],
            "text_offset": [self._place(token.text) for token in tokens],
        }

    def _place(self, token: str) -> int:
        # A token that holds a part of a character shows a mark in its place, which may be longer:
        # the next whole token says where the text goes on.
        at = self._at
        if _CUT in token:
            return self._before + at
        found = self._text.find(token, at, at + len(token) + 4)
        at = at if found < 0 else found
        self._at = at + len(token)
        return self._before + at
