"""Signs in words: those of sums, and those that stand for a word."""

from __future__ import annotations

import re

_SIGNS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), said)
    for pattern, said in (
        (r"(?<!\w)(?:#|№|Nº|N°)\s?(?=\d)", "number "),
        (r"(?<![\w&])#(?=[A-Za-z])", "hashtag "),
        (r"§§?\s?(?=\d)", "section "),
        (r"(?<!\w)vs\b", "versus"),
        (r"\s?&\s?", " and "),
        (r"(?<!\w)@(?=\w)", "at "),
        (r"\s?@\s?", " at "),
        (r"©\s?", "copyright "),
        (r"^\s*(?:->|=>|→|⇒|⟶|➔)\s?", ""),
        (r"\s?(?:->|=>|→|⇒|⟶|➔)\s?", " to "),
        (r"[←↑↓⇐⇑⇓↔⇔]", " "),
        (r"(?<=\d)\+(?![\w+])", " plus"),
        (r"±\s?(?=\d)", "plus or minus "),
        (r"(?<!\w)[~≈]\s?(?=[\d$€£])", "about "),
        (r"√\s?(?=\w)", "the square root of "),
        (r"∞", "infinity"),
        (r"(?<=\w)²", " squared"),
        (r"(?<=\w)³", " cubed"),
        (r"(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])", " "),
        (r"(?<!\w)(\d+(?:\.\d+)?)[eE]([+-]?\d{1,3})\b", r"\1 times 10 to the power of \2"),
    )
]
_TERM = r"(?:(?<![\d,])\d[\d,]*(?:\.\d+)?|\b[A-Za-z]\b|(?<=\w)\)| squared| cubed)"
_OPERAND = r"(?=-?(?:\d|[A-Za-z]\b|\())"
_COMPARED = r"(?=-?[\w(])"
_CALCULATED = (
    (r"\+", "plus"),
    (r"×", "times"),
    (r"\*", "times"),
    (r"÷", "divided by"),
    (r"\^", "to the power of"),
)
_COMPARISONS = (
    (r"(?:≠|!=)", "is not equal to"),
    (r"(?:≤|<=)", "is at most"),
    (r"(?:≥|>=)", "is at least"),
    (r"==?", "equals"),
    (r"≈", "is about"),
)
_ORDERED = ((r"<", "is less than"), (r">", "is greater than"))
_SUMS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(rf"(?P<left>{left})\s*{sign}\s*{right}"), said)
    for left, right, signs_said in (
        (_TERM, _OPERAND, _CALCULATED),
        (r"[\w)]", _COMPARED, _COMPARISONS),
        (_TERM, _OPERAND, _ORDERED),
    )
    for sign, said in signs_said
]
_MINUS = re.compile(r"(?<=\d)(?:\s+[-−–]\s+(?=\d|[a-z]\b)|−(?=\d))|(?<=\b[a-z])\s+[-−–]\s+(?=\d)")
_EQUATION = re.compile(r"\d\s?-\s?\d+(?:\.\d+)?\s?=")


def signs(text: str) -> str:
    """Say signs: those of sums between terms, and those that stand for a word."""
    if _EQUATION.search(text):
        text = re.sub(r"(?<=\d)\s?-\s?(?=\d)", " minus ", text)
    text = _MINUS.sub(" minus ", text)
    for pattern, said in _SIGNS:
        text = pattern.sub(said, text)
    for pattern, said in _SUMS:
        text = pattern.sub(rf"\g<left> {said} ", text)
    return text
