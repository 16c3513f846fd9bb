"""Letters and digits of another shape, as plain ones: ``H₂O``, ``10⁶``, ``①``, ``𝐱``."""

from __future__ import annotations

import re
import unicodedata

_POWER = re.compile(r"(?P<sign>[⁺⁻]?)(?P<digits>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_BASE = re.compile(r"(?:[\d)]|(?<![^\W\d_])[A-Za-z])$")
_SHAPED = re.compile("[\u2080-\u209c\u2460-\u24ff\U0001d400-\U0001d7ff]+")


def in_plain_letters(text: str, *, powers: bool) -> str:
    """Give letters and digits their plain shape, and say powers in English where wanted."""
    if text.isascii():
        return text
    text = _SHAPED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return _POWER.sub(_power, text) if powers else text


def _power(found: re.Match[str]) -> str:
    before = found.string[max(found.start() - 2, 0) : found.start()]
    sign, digits = found["sign"], unicodedata.normalize("NFKC", found["digits"])
    after_word = before[-1:].isalnum() or before.endswith(")")
    if after_word and found[0] in ("²", "³"):
        return found[0]  # of a unit, or a square or cube: what follows knows
    if sign or _BASE.search(before):
        return f" to the power of {'minus ' if sign == '⁻' else ''}{digits}"
    return f" {digits}" if after_word else digits
