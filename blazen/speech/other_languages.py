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
_CURRENCIES = {"€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "R$": "BRL"}
# What num2words has no money for: one, several, and one and several of the hundredth.
_MONEY = {
    "da": {"€": "euro euro", "$": "dollar dollar", "£": "pund pund", "¥": "yen yen"},
    "id": {"€": "euro euro", "$": "dolar dolar", "£": "pound pound", "¥": "yen yen"},
    "no": {"€": "euro euro", "$": "dollar dollar", "£": "pund pund", "¥": "yen yen"},
    "pt": {
        "€": "euro euros cêntimo cêntimos",
        "$": "dólar dólares centavo centavos",
        "£": "libra libras",
        "¥": "iene ienes",
        "R$": "real reais centavo centavos",
    },
    "sv": {"€": "euro euro", "$": "dollar dollar", "£": "pund pund", "¥": "yen yen"},
    "tr": {"€": "avro avro", "$": "dolar dolar", "£": "sterlin sterlin", "¥": "yen yen"},
}
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
_SIGN = r"R\$|(?:US)?\$|[€£¥]"
# A number beside a sign of money that was not said belongs to that sign: "$twenty" is neither.
_ALONE = (r"(?<![$€£¥])(?<![$€£¥]\s)", r"(?!\s?[$€£¥])")
# A stop after a number may make it an ordinal, which the engine reads better than we could.
_STOP = r"(?!\.\s+\w)"
_DIALLED = re.compile(rf"{_EDGES[0]}0\d+(?:[\s/-]\d+)*{_EDGES[1]}{_STOP}(?![.,]?\d)")
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
        if len(plain) > _LONGEST or re.match(r"0\d", plain):
            return None
        return say(float(plain) if "." in plain else int(plain), **how)

    def ordinal(match: re.Match[str]) -> str:
        return words(match[1], to="ordinal") or match[0]

    def money(match: re.Match[str]) -> str:
        sign = match["sign"] or match["last"]
        plain = _plain(match["number"] or match["first"], short)
        return _money(say, plain, sign, name) or match[0]

    def percent(match: re.Match[str]) -> str:
        said = words(match[1])
        return f"{said} {_PERCENT[short]}" if said else match[0]

    def count(match: re.Match[str]) -> str:
        if short in _YEARS and re.fullmatch(r"1[1-9]\d\d", match[0]):
            return words(match[0], to="year") or match[0]
        return words(match[0]) or match[0]

    def dialled(match: re.Match[str]) -> str:
        groups = ([say(int(digit)) for digit in group] for group in re.findall(r"\d+", match[0]))
        return ", ".join(" ".join(filter(None, group)) for group in groups) or match[0]

    if short in _ORDINAL_MARKS:
        text = re.sub(rf"{before}(\d{{1,4}})(?:{_ORDINAL_MARKS[short]})(?!\w)", ordinal, text)
    text = re.sub(
        rf"(?:(?<=\s)|^)[-−](?=(?:(?:{_SIGN})\s?)?{number}{after})", lambda _: _minus(say), text
    )
    text = re.sub(
        rf"(?<!\w)(?P<sign>{_SIGN})\s?(?P<number>{number})(?!\w|[.,]\d)"
        rf"|{before}(?P<first>{number})\s?(?P<last>{_SIGN})(?!\w)",
        money,
        text,
    )
    if short in _PERCENT:
        text = re.sub(rf"{before}({number})\s?%", percent, text)
    text = _DIALLED.sub(dialled, text)
    return re.sub(rf"{before}{_ALONE[0]}{number}{after}{_ALONE[1]}{_STOP}", count, text)


def _plain(digits: str, short: str) -> str:
    if short in _POINT:
        return digits.replace(",", "")
    return re.sub(r"[^\d,]", "", digits).replace(",", ".")


def _money(say: Callable[..., str | None], plain: str, sign: str, name: str) -> str | None:
    whole, _, fraction = plain.partition(".")
    if len(plain) > _LONGEST or len(fraction) > 2 or re.match(r"0\d", plain):
        return None
    # num2words takes a whole number for hundredths: 5 is five cents, 5.0 is five euros.
    said = say(float(plain), to="currency", currency=_CURRENCIES[sign])
    if said is not None and name != "pt_BR":
        nothing = say(0)
        if int(fraction or 0) or not nothing:
            return said
        return re.sub(rf"(?:,|\s\w+)?\s{re.escape(nothing)}\s\w+$", "", said)
    units = _MONEY.get(name.split("_")[0], {}).get(sign.removeprefix("US"))
    if units is None:
        return None
    one, many, *parts = units.split()
    cents = int(fraction.ljust(2, "0"))
    if cents and not parts:
        words = say(float(plain))
        return f"{words} {many}" if words else None
    said = f"{say(int(whole))} {one if int(whole) == 1 else many}"
    return f"{said} e {say(cents)} {parts[cents > 1]}" if cents else said


def _minus(say: Callable[..., str | None]) -> str:
    one = say(1)
    negative = say(-1)
    if one and negative and negative.endswith(one):
        return negative[: -len(one)].rstrip() + " "
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
