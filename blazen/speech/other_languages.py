"""Numbers, ordinals, money and percentages in words, in the languages that num2words knows."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from blazen.errors import MissingExtraError
from blazen.extras import need

_PERCENT = {
    "ca": "per cent",
    "cs": "procent",
    "da": "procent",
    "de": "Prozent",
    "es": "por ciento",
    "fi": "prosenttia",
    "fr": "pour cent",
    "hu": "százalék",
    "id": "persen",
    "it": "per cento",
    "nl": "procent",
    "no": "prosent",
    "pl": "procent",
    "pt": "por cento",
    "ro": "la sută",
    "ru": "процентов",
    "sv": "procent",
    "uk": "відсотків",
    "vi": "phần trăm",
}
_CURRENCIES = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
_ORDINAL_MARKS = {
    "ca": r"r|n|t|è",
    "es": r"\.?º|\.?ª|\.?er",
    "fr": r"er|re|e|ème|ère|nd|nde",
    "it": r"º|ª|°",
    "nl": r"e|de|ste",
    "pt": r"\.?º|\.?ª",
}
# Where a stop, not a comma, stands before the decimals.
_POINT = frozenset(("am", "bn", "he", "hi", "ja", "kn", "ko", "te", "th"))
_YEARS = frozenset(("da", "de", "nl", "no", "sv"))
_SAME = {"nb": "no", "nn": "no", "pt-br": "pt_BR", "fr-be": "fr_BE", "fr-ch": "fr_CH", "kk": "kz"}

_COMMA_NUMBER = (
    r"(?:\d{1,3}(?:[.\u00a0\u202f'’]\d{3})+(?!\d)|\d{1,3}(?:\s\d{3})+(?![\d.])|\d+)(?:,\d+)?"
)
_POINT_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_EDGES = (r"(?<![\w.,:/-])", r"(?![\w:/]|[.,]\d|-\d)")
_LONGEST = 15


def in_language(text: str, language: str) -> str:
    """Write out what is known to be said so; the rest stays for the engine."""
    if not any(map(str.isdigit, text)):
        return text
    found = _converter(language)
    if found is None:
        return text
    say, name = found
    short = name.split("_")[0]
    number = _POINT_NUMBER if short in _POINT else _COMMA_NUMBER
    before, after = _EDGES

    def words(digits: str, **how: Any) -> str | None:
        plain = _plain(digits, short)
        if len(plain) > _LONGEST:
            return None
        return say(float(plain) if "." in plain else int(plain), **how)

    def ordinal(match: re.Match[str]) -> str:
        return words(match[1], to="ordinal") or match[0]

    def money(match: re.Match[str]) -> str:
        sign = match["sign"] or match["last"]
        amount = match["number"] or match["first"]
        return words(amount, to="currency", currency=_CURRENCIES[sign]) or match[0]

    def percent(match: re.Match[str]) -> str:
        said = words(match[1])
        return f"{said} {_PERCENT[short]}" if said else match[0]

    def count(match: re.Match[str]) -> str:
        if short in _YEARS and re.fullmatch(r"1[1-9]\d\d", match[0]):
            return words(match[0], to="year") or match[0]
        return words(match[0]) or match[0]

    if short in _ORDINAL_MARKS:
        text = re.sub(rf"{before}(\d{{1,4}})(?:{_ORDINAL_MARKS[short]})(?!\w)", ordinal, text)
    signs = "".join(_CURRENCIES)
    text = re.sub(
        rf"(?P<sign>[{signs}])\s?(?P<number>{number})(?!\w|[.,]\d)"
        rf"|{before}(?P<first>{number})\s?(?P<last>[{signs}])",
        money,
        text,
    )
    if short in _PERCENT:
        text = re.sub(rf"{before}({number})\s?%", percent, text)
    text = re.sub(rf"(?:(?<=\s)|^)[-−](?={number}{after})", lambda _: _minus(say), text)
    # A number with a stop after it may be an ordinal, which the engine reads better than we could.
    stop = r"(?!\.\s+\w)"
    return re.sub(rf"{before}{number}{after}{stop}", count, text)


def _plain(digits: str, short: str) -> str:
    if short in _POINT:
        return digits.replace(",", "")
    return re.sub(r"[^\d,]", "", digits).replace(",", ".")


def _minus(say: Callable[..., str | None]) -> str:
    one = say(1)
    negative = say(-1)
    if one and negative and negative.endswith(one):
        return negative[: -len(one)]
    return "-"


@functools.cache
def _converter(language: str) -> tuple[Callable[..., str | None], str] | None:
    try:
        num2words = need("num2words", extra="piper", what="numbers in other languages")
    except MissingExtraError:
        return None  # the engine has its own way with digits
    known = num2words.CONVERTER_CLASSES
    name = _SAME.get(language) or _SAME.get(language.split("-")[0]) or language.split("-")[0]
    if name not in known:
        return None

    def say(value: float, **how: Any) -> str | None:
        try:
            said = num2words.num2words(value, lang=name, **how)
        except Exception:  # noqa: BLE001 - its languages raise what they will where they have no word
            return None
        return " ".join(str(said).split()) or None

    return say, name
