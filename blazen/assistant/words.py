"""The words of a text by which it is told from others."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")

_SAY_LITTLE = """
a about after all also an and any are as at be been before but by can could do does for from get
give had has have how if in into is it its like make me more most my need no not of on or our out
over please should show so some tell than that the their them then there these they this to up us
use used uses using very want was we were what when where which while who why will with would you
your
"""
_EMPTY = frozenset(_SAY_LITTLE.split())


def words_of(text: str) -> frozenset[str]:
    """Give the words that say what a text is about, in small letters and without their endings."""
    words = (word for word in _WORD.findall(text.lower()) if word not in _EMPTY)
    return frozenset(_stem(word) for word in words if len(word) > 1)


def _stem(word: str) -> str:
    """Make ``reviews``, ``reviewing`` and ``reviewed`` one word; it need not be a real one."""
    for ending in ("ings", "ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 3 and word[-1] in "ey" else word
