"""Vectors as an API sends them, in whatever order, put into one piece of memory."""

from __future__ import annotations

import base64
import math
import sys
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

_HIGH = 3 if sys.byteorder == "little" else 0
"""Where in a float its sign and the greater part of its exponent are."""


class Rows:
    """A place for so many vectors; how long they are the first one says."""

    def __init__(self, count: int, dimensions: int | None = None) -> None:
        self._count = count
        self._seen = bytearray(count)
        self._lock = threading.Lock()
        self.dimensions = dimensions or 0
        self.flat = bytearray(4 * count * self.dimensions)

    def put(self, place: int, sent: Any) -> None:
        """Keep a vector: floats in base64, or a list of numbers; what is neither raises."""
        raw = _packed(sent)
        if not _is_finite(raw):
            raise ValueError("a vector with NaN or infinity in it")
        with self._lock:  # answers are unpacked on several threads
            self._keep(place, raw)

    def _keep(self, place: int, raw: bytes) -> None:
        length, rest = divmod(len(raw), 4)
        if not self.dimensions:
            self.dimensions = length
            self.flat = bytearray(4 * self._count * length)
        if rest or not length or length != self.dimensions:
            raise ValueError(
                f"a vector of {len(raw) / 4:g} numbers where {self.dimensions} are due"
            )
        if self._seen[place]:
            raise ValueError(f"two vectors for the text at {place}")
        self._seen[place] = 1
        self.flat[len(raw) * place : len(raw) * (place + 1)] = raw


def _packed(sent: Any) -> bytes:
    """Give the floats as they lie in this machine's memory."""
    if not isinstance(sent, str):
        return array("f", sent).tobytes()
    raw = base64.b64decode(sent, validate=True)
    if sys.byteorder == "big":
        row = array("f", raw)
        row.byteswap()
        return row.tobytes()
    return raw


def _is_finite(raw: bytes) -> bool:
    high = raw[_HIGH::4]
    if 0x7F not in high and 0xFF not in high:
        return True  # NaN and infinity have one of these, and hardly any number has
    if len(raw) % 4:
        return True  # no vector at all, which is said elsewhere
    # One that is not finite spoils the sum; no sum of so few 32-bit numbers can overflow.
    return math.isfinite(sum(memoryview(raw).cast("f")))


def batches(texts: Sequence[str], *, most: int, most_bytes: int) -> Iterator[tuple[int, list[str]]]:
    """Give the texts in groups, each with the place of its first one.

    A text that is larger than ``most_bytes`` is a group of its own.
    """
    first, size = 0, 0
    for place, text in enumerate(texts):
        # 'surrogatepass': half a character is the API's to refuse, and only counted here.
        length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if place > first and (place - first == most or size + length > most_bytes):
            yield first, list(texts[first:place])
            first, size = place, 0
        size += length
    yield first, list(texts[first:])
