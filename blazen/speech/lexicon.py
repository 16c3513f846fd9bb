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
    pattern = _pattern(tuple(lexicon))
    return pattern.sub(lambda found: _said(found[0], lexicon), text)


def _said(word: str, lexicon: Mapping[str, str]) -> str:
    exact = lexicon.get(word)
    return exact if exact is not None else lexicon[_folded(lexicon)[word.lower()]]


def _folded(lexicon: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): key for key in lexicon if key == key.lower()}


@functools.lru_cache(maxsize=32)
def _pattern(keys: tuple[str, ...]) -> re.Pattern[str]:
    choices = []
    for key in sorted(filter(str.strip, keys), key=len, reverse=True):
        word = re.escape(key)
        # A border stands only beside a letter: "C++" ends without one.
        before = r"(?<!\w)" if key[0].isalnum() else ""
        after = r"(?!\w)" if key[-1].isalnum() else ""
        choices.append(before + (f"(?i:{word})" if key == key.lower() else word) + after)
    return re.compile("|".join(choices) or r"(?!)")
