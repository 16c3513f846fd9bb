"""How words are to be said, by their spelling."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping


def apply_lexicon(text: str, lexicon: Mapping[str, str]) -> str:
    """Put what is to be said in the place of each word that the lexicon has.

    Only whole words count, and of two that begin alike the longer. A key without capitals matches
    any case; one with capitals only its own, so that ``US`` and ``us`` can differ.
    """
    if not lexicon:
        return text
    pattern, keys = _pattern(tuple(lexicon))

    def said(found: re.Match[str]) -> str:
        exact = lexicon.get(found[0])
        # By the group that matched: some letters match others than those they fold to.
        return exact if exact is not None else lexicon[keys[(found.lastindex or 1) - 1]]

    return pattern.sub(said, text)


@functools.lru_cache(maxsize=32)
def _pattern(keys: tuple[str, ...]) -> tuple[re.Pattern[str], list[str]]:
    longest_first = sorted(filter(str.strip, keys), key=len, reverse=True)
    choices = []
    for key in longest_first:
        word = re.escape(key)
        # A border stands only beside a letter: "C++" ends without one.
        before = r"(?<!\w)" if key[0].isalnum() else ""
        after = r"(?!\w)" if key[-1].isalnum() else ""
        choices.append(before + (f"((?i:{word}))" if key == key.lower() else f"({word})") + after)
    return re.compile("|".join(choices) or r"(?!)"), longest_first
