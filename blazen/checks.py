"""Checks of values that users pass: each raises a `ValidationError` that names the value."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from blazen.errors import ValidationError


def check_range(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    integer: bool = False,
) -> None:
    """Refuse what is no number (``None`` passes: it means "not set") or lies outside the bounds."""
    if value is None:
        return
    fits = isinstance(value, int) or (
        isinstance(value, float) and not integer and math.isfinite(value)
    )
    if isinstance(value, bool) or not fits:
        wanted = "a whole number" if integer else "a number"
        raise ValidationError(f"{name} must be {wanted}, not {value!r}")
    if at_least is not None and value < at_least:
        raise ValidationError(f"{name} must be at least {at_least}, not {value!r}")
    if at_most is not None and value > at_most:
        raise ValidationError(f"{name} must be at most {at_most}, not {value!r}")


def check_texts(**given: object) -> None:
    """Refuse what is neither a text nor ``None``."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ValidationError(f"{name} must be a text, not {value!r:.80}")


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse what is not among the choices."""
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValidationError(f"{name} must be one of {known}, not {value!r}")


_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


def parse_bytes(name: str, value: Any) -> int:
    """Read an amount of memory: a number of bytes, or a text such as ``6GiB`` or ``500 MB``."""
    if isinstance(value, str):
        read = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)
        if read is None or read[2].upper() not in _UNITS:
            raise ValidationError(
                f"{name} must be bytes, or a text such as '6GiB' or '500MB', not {value!r}"
            )
        value = round(float(read[1]) * _UNITS[read[2].upper()])
    check_range(name, value, at_least=1, integer=True)
    amount: int = value
    return amount


def unknown_name(what: str, name: str, known: Collection[str]) -> str:
    """Word the message for a name that is not known: what is near it, and what there is."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {what} {name!r}; {hint}known are: {', '.join(sorted(known)) or 'none'}"
