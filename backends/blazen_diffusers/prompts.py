"""What of a prompt the model does not see."""

from __future__ import annotations

import inspect
from typing import Any

from blazen.errors import ValidationError

_UNLIMITED = 100_000
_SHOWN = 60


def check_text(what: str, text: str) -> None:
    """Refuse a text that no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(
            f"{what} holds half a character (at {error.start}): {text!r:.80}"
        ) from error


def cut_off(pipeline: Any, what: str, text: str | None) -> list[str]:
    """Say where a text is cut, if it is longer than the model reads."""
    if not text:
        return []
    found: dict[int, str] = {}
    for name, tokenizer in pipeline.components.items():
        if name.startswith("tokenizer") and callable(tokenizer):
            limit = _limit(pipeline, tokenizer)
            if limit is not None and (place := _cut_at(tokenizer, text, limit)) is not None:
                count, start = place
                found.setdefault(
                    start,
                    f"{what} has {count} tokens, and {name} reads {limit}: what comes from "
                    f"character {start} on is not seen, {text[start : start + _SHOWN]!r}"
                    f"{'…' if len(text) > start + _SHOWN else ''}",
                )
    return [found[start] for start in sorted(found)]


def _limit(pipeline: Any, tokenizer: Any) -> int | None:
    limit = getattr(tokenizer, "model_max_length", None)
    # CLIP has its own limit; the larger encoders are cut where the pipeline says.
    if "CLIP" not in type(tokenizer).__name__:
        asked = inspect.signature(type(pipeline).__call__).parameters.get("max_sequence_length")
        if asked is not None and isinstance(asked.default, int):
            limit = min(limit or _UNLIMITED, asked.default)
    return limit if isinstance(limit, int) and limit < _UNLIMITED else None


def _cut_at(tokenizer: Any, text: str, limit: int) -> tuple[int, int] | None:
    """Give how many tokens a text has, and the first character that is not seen."""
    marks = tokenizer.num_special_tokens_to_add()
    if getattr(tokenizer, "is_fast", False):
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        places = read["offset_mapping"]
        if len(places) + marks <= limit:
            return None
        return len(places) + marks, int(places[limit - marks][0])
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) + marks <= limit:
        return None
    seen = tokenizer.decode(ids[: limit - marks])
    return len(ids) + marks, min(len(seen), len(text))
