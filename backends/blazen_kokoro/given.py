"""Phonemes that a text gives itself, in ``[[ ]]``."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 4_000
# No digits: a list of lists in a text is a text. No brackets: then a search never looks back.
_GIVEN = re.compile(rf"\[\[([^\[\]\d]{{1,{_LONGEST}}})\]\]")
# Tangut: letters, so that a sentence of nothing else counts as one, and that no voice speaks.
_LETTERS = range(0x17000, 0x187F8)
_LETTER = f"[{chr(_LETTERS[0])}-{chr(_LETTERS[-1])}]"
_STRAY = re.compile(_LETTER)
_MARK = re.compile(f"({_LETTER}{_LETTER})")


class Given:
    """Keeps phonemes in ``[[ ]]`` from whatever is done to the text around them.

    A word of two letters that no voice speaks stands for each. What the model has no symbols for
    is no phonemes but text.
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._known = frozenset(vocabulary) | {" "}
        self._all: list[str] = []

    def take(self, text: str) -> str:
        """Put a mark in the place of the phonemes."""
        return _GIVEN.sub(self._marked, _STRAY.sub(" ", text))

    def parts(self, text: str) -> list[tuple[str, str]]:
        """Give a text in parts, and after each the phonemes that follow it."""
        found = [*_MARK.split(text), ""]
        return [
            (found[place], self._of(found[place + 1]) if found[place + 1] else "")
            for place in range(0, len(found), 2)
        ]

    def _marked(self, found: re.Match[str]) -> str:
        phonemes = " ".join(found[1].split())
        if not self._known.issuperset(phonemes):
            return found[0]
        if not phonemes:
            return " "
        first, second = divmod(len(self._all), len(_LETTERS))
        self._all.append(phonemes)
        return f" {chr(_LETTERS[first])}{chr(_LETTERS[second])} "

    def _of(self, mark: str) -> str:
        first, second = (ord(letter) - _LETTERS[0] for letter in mark)
        return self._all[first * len(_LETTERS) + second]


def without_given(text: str) -> str:
    """Give a text without the marks that stand for phonemes."""
    return _MARK.sub("", text)
