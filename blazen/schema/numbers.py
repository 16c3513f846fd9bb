"""The rules of JSON numbers within bounds, written for a grammar: digit by digit."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from blazen.errors import UnsupportedError
from blazen.schema.gbnf import Grammar
from blazen.schema.merging import NothingFits

_DIGITS = 16
"""How long a whole number without bounds may be: what a float still tells apart."""
_MOST = 10**15 - 1
"""How large a number with a bound on its other side alone may be."""
_LONGEST = 40
_LOWER = ("minimum", "exclusiveMinimum")
_UPPER = ("maximum", "exclusiveMaximum")


def integers(grammar: Grammar, schema: dict[str, Any]) -> str:
    """Give the piece that is a whole number within the bounds of a checked schema."""
    low, high = _whole_bounds(schema)
    if low is None and high is None:
        return grammar.rule("integer", f'"-"? ("0" | [1-9] [0-9]{{0,{_DIGITS - 1}}})')
    most = max(10**_DIGITS, *(10 * abs(bound) for bound in (low, high) if bound is not None)) - 1
    options = _whole(-most if low is None else low, most if high is None else high)
    return grammar.rule("integer", " | ".join(options))


def numbers(grammar: Grammar, schema: dict[str, Any]) -> str:
    """Give the piece that is a number within the bounds of a checked schema."""
    if not _bounded(schema):
        whole = f'"-"? ("0" | [1-9] [0-9]{{0,{_DIGITS - 1}}})'
        return grammar.rule("number", f'{whole} ("." [0-9]{{1,16}})? ([eE] [-+]? [0-9]{{1,2}})?')
    return grammar.rule("number", " | ".join(_Decimals(schema, "$").options()))


def check_bounds(schema: dict[str, Any], where: str) -> None:
    """Refuse bounds between which there is nothing, or that are too long for a number."""
    for name in (*_LOWER, *_UPPER):
        if abs(int(schema.get(name, 0))) >= 10**_LONGEST:
            raise UnsupportedError(
                f"the schema's {name!r} at {where} has more than {_LONGEST} digits: leave it out"
            )
    if schema["type"] == "integer":
        low, high = _whole_bounds(schema)
        if low is not None and high is not None and low > high:
            raise NothingFits(where)
    elif _bounded(schema):
        _Decimals(schema, where).options()


def _bounded(schema: dict[str, Any]) -> bool:
    return any(name in schema for name in (*_LOWER, *_UPPER))


def _whole_bounds(schema: dict[str, Any]) -> tuple[int | None, int | None]:
    low, low_open = _tightest(schema, _LOWER, max)
    high, high_open = _tightest(schema, _UPPER, min)
    least = most = None
    if low is not None:
        least = math.floor(low) + 1 if low_open else math.ceil(low)
    if high is not None:
        most = math.ceil(high) - 1 if high_open else math.floor(high)
    return least, most


def _whole(low: int, high: int) -> list[str]:
    """Give the ways to write a whole number from ``low`` to ``high``."""
    options = []
    if low < 0:
        options += [f'"-" ({" | ".join(_natural(max(1, -high), -low))})']
    if high >= 0:
        options += _natural(max(low, 0), high)
    return options


def _natural(low: int, high: int) -> list[str]:
    """Give the ways to write a number of 0 or more, one for each count of digits."""
    options = []
    for length in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (length - 1) if length > 1 else 0)
        last = min(high, 10**length - 1)
        options.append(_same_length(str(first), str(last)))
    return options


def _same_length(low: str, high: str) -> str:
    """Give the piece that is as many digits, from ``low`` to ``high``."""
    if low == high:
        return f'"{low}"' if low else '""'
    shared = 0
    while low[shared] == high[shared]:
        shared += 1
    head, low, high = low[:shared], low[shared:], high[shared:]
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    options = []
    if low[1:].strip("0"):
        options.append(f'"{low[0]}" {_same_length(low[1:], "9" * rest)}')
        first += 1
    if high[1:].strip("9"):
        last -= 1
    if first <= last:
        options.insert(len(options), f"{_digit(first, last)} {_any(rest)}".strip())
    if high[1:].strip("9"):
        options.append(f'"{high[0]}" {_same_length("0" * rest, high[1:])}')
    inner = options[0] if len(options) == 1 else f"({' | '.join(options)})"
    return f'"{head}" {inner}' if head else inner


def _digit(first: int, last: int) -> str:
    return f"[{first}]" if first == last else f"[{first}-{last}]"


def _any(count: int) -> str:
    return "" if count == 0 else "[0-9]" if count == 1 else f"[0-9]{{{count}}}"


class _Decimals:
    """Decimals within bounds, with no more digits than a float tells apart."""

    def __init__(self, schema: dict[str, Any], where: str) -> None:
        self._where = where
        self._low, self._low_open = _tightest(schema, _LOWER, max)
        self._high, self._high_open = _tightest(schema, _UPPER, min)
        given = [abs(bound) for bound in (self._low, self._high) if bound is not None]
        size = len(str(int(max(given))))
        if size > 13:
            raise UnsupportedError(
                f"the bound {max(given)} at {self._where} has more than 13 digits before the "
                "point: make it an integer, or leave the bound out"
            )
        self._places = min(10, 15 - size)

    def options(self) -> list[str]:
        """Give the ways to write such a number."""
        low, low_open = self._rounded(self._low, self._low_open, ROUND_CEILING, Decimal(-_MOST))
        high, high_open = self._rounded(self._high, self._high_open, ROUND_FLOOR, Decimal(_MOST))
        if low > high:
            raise NothingFits(self._where)
        options: list[str] = []
        if low < 0:
            if high >= 0:
                inner = self._positive(Decimal(0), False, -low, low_open)
            else:
                inner = self._positive(-high, high_open, -low, low_open)
            options += [f'"-" ({" | ".join(inner)})'] if inner else []
        if high >= 0:
            least, least_open = (low, low_open) if low >= 0 else (Decimal(0), False)
            options += self._positive(least, least_open, high, high_open)
        if not options:
            raise UnsupportedError(
                f"no decimal of {self._places} places lies between the bounds at {self._where}"
            )
        return options

    def _rounded(
        self, bound: Decimal | None, is_open: bool, rounding: str, otherwise: Decimal
    ) -> tuple[Decimal, bool]:
        if bound is None:
            return otherwise, False
        near = bound.quantize(Decimal(1).scaleb(-self._places), rounding)
        return near, is_open and near == bound

    def _positive(self, low: Decimal, low_open: bool, high: Decimal, high_open: bool) -> list[str]:
        """Give the ways to write a number of 0 or more."""
        if low > high or (low == high and (low_open or high_open)):
            return []
        first, last = int(low), int(high)
        low_digits, high_digits = self._fraction(low), self._fraction(high)
        if first == last:
            return _whole_and(first, self._between(low_digits, low_open, high_digits, high_open))
        options = _whole_and(first, self._at_least(low_digits, low_open, self._places))
        if last - first > 1:
            middle = " | ".join(_natural(first + 1, last - 1))
            options.append(f'({middle}) ("." [0-9]{{1,{self._places}}})?')
        return options + _whole_and(last, self._at_most(high_digits, high_open, self._places))

    def _fraction(self, number: Decimal) -> str:
        return f"{number - int(number):.{self._places}f}".partition(".")[2].rstrip("0")

    # Each of these gives the ways to go on after the point, or after some digits behind it, with
    # as many more digits as are left; a way that is "" is to end there.

    def _at_least(self, digits: str, is_open: bool, left: int) -> list[str]:
        if not digits and not is_open:
            return ["", f"[0-9]{{1,{left}}}"] if left else [""]
        if not left:
            return []
        first = int(digits[:1] or 0)
        above = [f"{_digit(first + 1, 9)} {_up_to(left - 1)}".strip()] if first < 9 else []
        return above + _behind(first, self._at_least(digits[1:], is_open, left - 1))

    def _at_most(self, digits: str, is_open: bool, left: int) -> list[str]:
        if not digits:
            return [] if is_open else ["", f'"0"{{1,{left}}}'] if left else [""]
        first = int(digits[0])
        below = [f"{_digit(0, first - 1)} {_up_to(left - 1)}".strip()] if first else []
        return ["", *below, *_behind(first, self._at_most(digits[1:], is_open, left - 1))]

    def _between(
        self, low: str, low_open: bool, high: str, high_open: bool, written: int = 0
    ) -> list[str]:
        left = self._places - written
        if not low and not low_open:
            return self._at_most(high, high_open, left)
        if not high:
            return []
        first, last = int(low[:1] or 0), int(high[0])
        if first == last:
            inner = self._between(low[1:], low_open, high[1:], high_open, written + 1)
            return _behind(first, inner)
        ways = _behind(first, self._at_least(low[1:], low_open, left - 1))
        if last - first > 1:
            ways.append(f"{_digit(first + 1, last - 1)} {_up_to(left - 1)}".strip())
        return ways + _behind(last, self._at_most(high[1:], high_open, left - 1))


def _up_to(count: int) -> str:
    return f"[0-9]{{0,{count}}}" if count else ""


def _behind(digit: int, ways: list[str]) -> list[str]:
    """Put a digit before the ways to go on."""
    more = [way for way in ways if way]
    return [f'"{digit}"'] * ("" in ways) + ([f'"{digit}" ({" | ".join(more)})'] if more else [])


def _whole_and(whole: int, fraction: list[str]) -> list[str]:
    """Put a whole number, and the point, before the ways to go on."""
    more = [way for way in fraction if way]
    return [f'"{whole}"'] * ("" in fraction) + (
        [f'"{whole}." ({" | ".join(more)})'] if more else []
    )


def _tightest(
    schema: dict[str, Any], names: tuple[str, str], pick: Callable[..., Decimal]
) -> tuple[Decimal | None, bool]:
    """Give the bound that says most, and whether it is itself left out."""
    found = {name: Decimal(str(schema[name])) for name in names if name in schema}
    if not found:
        return None, False
    bound = pick(found.values())
    return bound, found.get(names[1]) == bound
