"""The marks between which models of different families reason before they answer."""

from __future__ import annotations

from typing import NamedTuple


class ReasoningMarks(NamedTuple):
    """What stands before and after a model's reasoning."""

    open: str
    close: str


THINK = ReasoningMarks("<think>", "</think>")
"""DeepSeek-R1, QwQ, Qwen3, GLM, Granite and most others."""

KNOWN = (
    THINK,
    ReasoningMarks("[THINK]", "[/THINK]"),  # Magistral, Ministral
    ReasoningMarks("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ReasoningMarks("<seed:think>", "</seed:think>"),  # Seed-OSS
    ReasoningMarks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A, Command R7B
)


def marks_of(source: str) -> ReasoningMarks | None:
    """Give the marks that a template's text names; ``None`` for a model that does not reason."""
    for marks in KNOWN:
        if marks.close in source:
            return marks
    return None


def is_open(prompt: str, marks: ReasoningMarks) -> bool:
    """Whether a prompt ends within a block of reasoning that the model is to go on with."""
    return prompt.rstrip().endswith(marks.open.rstrip())


def answer_marks(source: str) -> tuple[str, ...]:
    """Give the marks around the answer itself, where a family writes such: they are left out."""
    return next((pair for pair in _AROUND_ANSWERS if all(mark in source for mark in pair)), ())


_AROUND_ANSWERS = (
    ("<response>", "</response>"),  # Granite 3.3
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Command A, Command R7B
)
