"""Phonemes that a text gives itself, in ``[[ ]]``: kept from whatever is done to the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Set

LETTERS = range(0x17000, 0x187F8)
"""Tangut: letters, so that a sentence of nothing else counts as one, and that no voice speaks."""
LETTER = f"[{chr(LETTERS[0])}-{chr(LETTERS[-1])}]"
"""The pattern of one."""

_LONGEST = 4_000
# No digits: a list of lists in a text is a text. No brackets: then a search never looks back.
_GIVEN = re.compile(rf"\[\[([^\[\]\d]{{1,{_LONGEST}}})\]\]")
_STRAY = re.compile(LETTER)


def hide_phonemes(text: str, known: Set[str], mark: Callable[[str], str]) -> str:
    """Put a mark made of `LETTERS` in the place of phonemes; ``mark`` gives it for their text.

    What holds anything but known phonemes and blanks stays: it is no phonemes.
    """

    def hidden(found: re.Match[str]) -> str:
        phonemes = set("".join(found[1].split()))
        return mark(found[1]) if phonemes <= known else found[0]

    return _GIVEN.sub(hidden, _STRAY.sub(" ", text))
