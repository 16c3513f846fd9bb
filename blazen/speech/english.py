"""English written as it is said."""

from __future__ import annotations

import re

from blazen.speech import amounts, codes, dates, names
from blazen.speech.numbers import cardinal, ordinal, spelled
from blazen.speech.signs import signs

_DAY_FIRST = frozenset(("gb", "uk", "au", "nz", "ie", "za", "in", "029", "scotland"))

_NUMBER_AND_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b")
_MINUS = re.compile(r"(?:(?<=^)|(?<=[\s(\[\"'“]))[-−](?=\.?\d)|−(?=\.?\d)")
_PLUS = re.compile(r"(?:(?<=^)|(?<=[\s(]))\+(?=\.?\d)")
_SCALED = re.compile(rf"(?<![\w.,])({amounts.NUMBER})(k|bn|mn|M|tn)(?![\w/])")
_SCALES = {"k": "thousand", "bn": "billion", "mn": "million", "M": "million", "tn": "trillion"}
_POINT = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d*)\.(\d+)(?!\.?\d)")
_GROUPED = re.compile(r"(?<!\d)(?<!\d[.,])(\d{1,3}(?:,\d{3})+)(?![\d])")
_LETTERED = re.compile(r"(?<=[^\W\d_])-?(?=\d)|(?<=\d)(?=[^\W\d_])")
_TO_ORDINAL = re.compile(r"(?<=\d)(st|nd|rd|th)\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)")
_DIGITS = re.compile(r"\d+")


def is_british(language: str) -> bool:
    """Say whether this English puts the day before the month."""
    return any(part in _DAY_FIRST for part in language.split("-")[1:])


def in_english(text: str, language: str) -> str:
    """Write numbers, dates, amounts, abbreviations and signs out."""
    british = is_british(language)
    text = names.titles(text)
    text = codes.spaced(codes.phones(text))
    text = dates.dates(text, british)
    text = dates.times(text)
    text = names.abbreviations(text)
    text = names.numerals(text)
    text = amounts.money(text, british)
    text = codes.versions(text, british)
    text = dates.years(text, british)
    text = amounts.measures(_MINUS.sub("minus ", text), british)
    text = signs(text)
    text = amounts.fractions(text, british)
    text = amounts.ranges(text)
    return _numbers(text, british)


def _numbers(text: str, british: bool) -> str:
    text = _MINUS.sub("minus ", text)
    text = _PLUS.sub("plus ", text)
    text = _SCALED.sub(
        lambda found: f"{amounts.amount(found[1], british)} {_SCALES[found[2]]}", text
    )
    text = _TO_ORDINAL.sub(r"\1 to ", text)
    text = _NUMBER_AND_ORDINAL.sub(
        lambda found: ordinal(found[1].replace(",", ""), british=british), text
    )
    text = _POINT.sub(lambda found: amounts.amount(f"{found[1] or 0}.{found[2]}", british), text)
    text = _GROUPED.sub(lambda found: cardinal(found[1].replace(",", ""), british=british), text)
    if not _DIGITS.search(text):
        return text
    text = _LETTERED.sub(" ", text)
    return _DIGITS.sub(
        lambda found: (
            cardinal(found[0], british=british)
            if found[0].isascii()
            else spelled("".join(str(int(digit)) for digit in found[0]))
        ),
        text,
    )
