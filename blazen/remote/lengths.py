"""How providers say that a prompt is longer than the model's context."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Their codes, and their words: no status says it.
_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
)
_WORDS = re.compile(
    r"maximum context length|context.?window|context length|context limit|context size"
    r"|prompt is too long|input is too long|too many input tokens"
    r"|input token count.*exceeds the maximum|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE | re.DOTALL,
)
_OVER = re.compile(
    r"exceed|too (?:long|large|many)|however|reduce|greater than|longer than|>", re.IGNORECASE
)

_NUMBER = r"([0-9][0-9,]*)"
_TOKENS = tuple(
    re.compile(pattern.replace("N", _NUMBER), re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"resulted in N tokens",
        r"requested(?: about)? N tokens",
        r"prompt is too long: N tokens",
        r"input token count \(?N\)? exceeds",
        r"request \(N tokens\)",
        r"contains(?: at least)? N (?:input )?tokens",
    )
)
_LIMITS = tuple(
    re.compile(pattern.replace("N", _NUMBER), re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"maximum context length (?:is|of) N",
        r"> N maximum",
        r"> N\b",
        r"maximum number of tokens allowed \(?N",
        r"context size \(N tokens\)",
        r"N maximum context length",
    )
)


def too_long(told: Any, said: str) -> tuple[int | None, int | None] | None:
    """Give how long the prompt was and may be, where that is what an error is about."""
    error = told.get("error", told) if isinstance(told, Mapping) else None
    holder: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    named = any(holder.get(key) in _CODES for key in ("code", "type") if _is_text(holder.get(key)))
    if not named and not (_WORDS.search(said) and _OVER.search(said)):
        return None
    tokens, limit = holder.get("n_prompt_tokens"), holder.get("n_ctx")
    return (
        tokens if type(tokens) is int else _found(_TOKENS, said),
        limit if type(limit) is int else _found(_LIMITS, said),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _found(patterns: tuple[re.Pattern[str], ...], said: str) -> int | None:
    for pattern in patterns:
        found = pattern.search(said)
        if found:
            return int(found[1].replace(",", ""))
    return None
