"""Phonemes that a text gives itself, in ``[[ ]]``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from blazen.speech.inline import LETTER, LETTERS, hide_phonemes

_MARK = re.compile(f"({LETTER}{LETTER})")


class Given:
    """Keeps phonemes in ``[[ ]]`` from whatever is done to the text around them.

    A word of two letters that no voice speaks stands for each. What the model has no symbols for
    is no phonemes but text.
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._known = frozenset(vocabulary)
        self._all: list[str] = []

    def take(self, text: str) -> str:
        """Put a mark in the place of the phonemes."""
        return hide_phonemes(text, self._known, self._marked)

    def parts(self, text: str) -> list[tuple[str, str]]:
        """Give a text in parts, and after each the phonemes that follow it."""
        found = [*_MARK.split(text), ""]
        return [
            (found[place], self._of(found[place + 1]) if found[place + 1] else "")
            for place in range(0, len(found), 2)
        ]

    def _marked(self, given: str) -> str:
        phonemes = " ".join(given.split())
        if not phonemes:
            return " "
        first, second = divmod(len(self._all), len(LETTERS))
        self._all.append(phonemes)
        return f" {chr(LETTERS[first])}{chr(LETTERS[second])} "

    def _of(self, mark: str) -> str:
        first, second = (ord(letter) - LETTERS[0] for letter in mark)
        return self._all[first * len(LETTERS) + second]


def without_given(text: str) -> str:
    """Give a text without the marks that stand for phonemes."""
    return _MARK.sub("", text)
