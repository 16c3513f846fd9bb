"""Numbers in one piece of memory, as base64 text and back."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping
from typing import Any

from blazen.errors import ValidationError
from blazen.types.record import decode


def typed(code: str, values: Any, what: str) -> memoryview[Any]:
    """Give a read-only view of bytes, of a buffer or of any numbers, as one type of `array`."""
    own = array(code)
    try:
        view = memoryview(values)
    except TypeError:
        return _converted(code, values, what)
    if not view.nbytes:
        return memoryview(own).toreadonly()  # what is empty can't always be cast
    same = view.itemsize == own.itemsize and (view.format in "fd") == (code in "fd")
    if view.format != "B" and not same:
        return _converted(code, view.tolist(), what)
    flat: Any = view  # the types of casts know letters, not texts
    try:
        # A cast is possible from bytes only, and to bytes from anything.
        numbers: memoryview[Any] = flat.cast("B").cast(code).toreadonly()
    except (TypeError, ValueError) as error:
        raise ValidationError(f"{what} can't be read from that buffer: {error}") from error
    return numbers


def _converted(code: str, values: Any, what: str) -> memoryview[Any]:
    try:
        return memoryview(array(code, values)).toreadonly()
    except (TypeError, OverflowError, ValueError) as error:
        raise ValidationError(f"{what} can't be {values!r:.80}: {error}") from error


def to_base64(view: memoryview[Any]) -> str:
    """Give the numbers as base64 of little-endian bytes."""
    return base64.b64encode(_little_endian(view.format, bytes(view))).decode("ascii")


def from_base64(code: str, data: Mapping[str, Any], name: str, where: str) -> memoryview[Any]:
    """Read what `to_base64` gave from a field of a dictionary."""
    raw = decode(bytes, data.get(name), f"{where}.{name}")
    return typed(code, _little_endian(code, raw), f"{where}.{name}")


def check_offsets(offsets: memoryview[int], length: int, what: str) -> None:
    """Refuse offsets that do not cut so many numbers into rows: they begin at 0 and only rise."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != length:
        raise ValidationError(f"the offsets of {what} must go from 0 to {length}")
    before = 0
    for offset in offsets:
        if offset < before:
            raise ValidationError(f"the offsets of {what} must not fall: {offset} after {before}")
        before = offset


def _little_endian(code: str, raw: bytes) -> bytes:
    if sys.byteorder == "little":
        return raw
    swapped = array(code)
    if len(raw) % swapped.itemsize:
        return raw  # whoever reads it as numbers refuses it
    swapped.frombytes(raw)
    swapped.byteswap()
    return swapped.tobytes()
