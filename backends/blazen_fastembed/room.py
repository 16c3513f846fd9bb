"""Texts of like length in one pass, and no more of them than memory has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from blazen.bridge import Job
from blazen.errors import InferenceError, ValidationError
from blazen.types.footprint import Footprint
from blazen_fastembed.characters import check_texts
from blazen_fastembed.offered import Found
from blazen_fastembed.size import PASS, Limits

CODE = 120 << 20
"""ONNX Runtime, fastembed, what they import, and a tokenizer."""


def groups(
    lengths: Sequence[int], limits: Limits, text_bytes: Callable[[int], int], job: Job
) -> Iterator[list[int]]:
    """Give the places of texts that are read together, the longest first.

    The engine fills each text up to the longest of its pass and never gives back what its largest
    pass took. So texts of like length go together, and only so many as the limits have room for.
    """
    group: list[int] = []
    longest = room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        length = lengths[place]
        if group and (len(group) >= room or longest - length > limits.filling):
            yield group
            group = []
        if not group:
            if job.cancelled:
                raise InferenceError("the request was stopped")
            longest, room = length, room_for(limits, max(1, length), text_bytes)
        group.append(place)
    if group:
        yield group


def room_for(limits: Limits, tokens: int, text_bytes: Callable[[int], int]) -> int:
    """Say how many texts of so many tokens go together: one at the least."""
    fitting = PASS // max(1, text_bytes(tokens))
    return max(1, min(limits.texts, limits.tokens // tokens, fitting))


def limit_tokens(tokenizers: Sequence[Any], wanted: int | None, marks: int, name: str) -> None:
    """Have texts cut at a number of tokens, of which the caller itself adds so many marks."""
    for tokenizer in tokenizers if wanted is not None else ():
        assert wanted is not None
        known = tokenizer.truncation["max_length"] + marks
        least = tokenizer.num_special_tokens_to_add(False) + marks + 1
        if not least <= wanted <= known:
            raise ValidationError(
                f"max_length is {wanted}, and {name} reads from {least} to {known} tokens"
            )
        direction = tokenizer.truncation["direction"]
        tokenizer.enable_truncation(max_length=wanted - marks, direction=direction)


def measure(tokenizer: Any, texts: Sequence[str], job: Job) -> tuple[list[int], int]:
    """Give how many tokens of each text are read, and how many texts lose their end."""
    check_texts(texts)
    lengths, truncated = [], 0
    for text in texts:
        if job.cancelled:
            raise InferenceError("the request was stopped")
        encoding = tokenizer.encode(text)
        lengths.append(sum(encoding.attention_mask))
        truncated += bool(encoding.overflowing)
    return lengths, truncated


def pass_footprint(found: Found, work: int) -> Footprint:
    """Say what a model takes, with the sums of its largest pass."""
    weights = found.weights
    # While it loads, the graph is there in several forms; then the weights are there twice.
    return Footprint(
        resident={"cpu": CODE + 2 * weights + work}, load_peak={"cpu": CODE + 7 * weights}
    )
