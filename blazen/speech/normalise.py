"""Text in words: numbers, dates, signs and abbreviations written out as they are said."""

from __future__ import annotations

import re

from blazen.speech.english import in_english
from blazen.speech.marks import addresses, without_marks
from blazen.speech.other_languages import in_language
from blazen.speech.shapes import in_plain_letters

_BLANKS = re.compile(r"\s+")
_BEFORE_COMMA = re.compile(r" +(?=[,;])")


def normalise(text: str, language: str = "en") -> str:
    """Write out what an engine would misread; plain prose comes out as it is.

    English is written out whole, by rules of our own. In other languages numbers, ordinals, money
    and percentages are, where num2words is installed and knows the language; what it does not know
    is left to the engine. Marks of Markdown and emoji are left out in any language.
    """
    language = language.lower().replace("_", "-")
    english = language.split("-")[0] in ("en", "eng", "english")
    text = without_marks(in_plain_letters(text, powers=english))
    text = in_english(addresses(text), language) if english else in_language(text, language)
    return _BEFORE_COMMA.sub("", _BLANKS.sub(" ", text)).strip()
