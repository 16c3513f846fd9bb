"""The shape of a JSON text, seen before it is parsed: how deep, and of how many values."""

from __future__ import annotations

import re

from blazen.server.failures import Refusal

_MARKS = re.compile(rb'["\[\]{},]')
_OPENS = b"[{"
_BEGINS = b"[{,"
"""Signs that a value comes after. What is between them may be as little as one digit."""
_MARKS_A_VALUE = 4
"""A value has about so many signs: a key's two quotes, its own two. More are texts of quotes."""


class JsonShape:
    """Reads a JSON text as it comes, and refuses one that would grow out of all proportion.

    A text of 600 kB can hold 300,000 lists, one in another, which as objects take a gigabyte.
    """

    def __init__(self, *, depth: int, values: int) -> None:
        self._most = depth
        self._marks_left = values * _MARKS_A_VALUE
        self._values = self._values_left = values
        self._depth = 0
        self._inside = False
        self._escaped = False

    def feed(self, data: bytes) -> None:
        """Look at the next bytes; what is too much is a `Refusal`."""
        if 0 in data:
            # In UTF-16 a quote may be half of another character: nothing here would hold.
            raise Refusal(400, "this is no JSON in UTF-8: it has a zero byte")
        start, end = 0, len(data)
        while start < end:
            start = self._in_text(data, start) if self._inside else self._between(data, start)

    def _in_text(self, data: bytes, start: int) -> int:
        if self._escaped:
            self._escaped = False
            return start + 1
        quote = data.find(b'"', start)
        piece = data[start:] if quote < 0 else data[start:quote]
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        odd = backslashes % 2 == 1
        if quote < 0:
            self._escaped = odd
            return len(data)
        self._count()
        if not odd:
            self._inside = False
        return quote + 1

    def _between(self, data: bytes, start: int) -> int:
        for mark in _MARKS.finditer(data, start):
            self._count()
            sign = mark[0]
            if sign in _BEGINS:
                self._values_left -= 1
                if self._values_left < 0:
                    raise self._too_many()
            if sign in _OPENS:
                self._depth += 1
                if self._depth > self._most:
                    raise Refusal(400, f"the JSON is more than {self._most} lists and objects deep")
            elif sign in b"]}":
                self._depth -= 1
            elif sign == b'"':
                self._inside = True
                return mark.end()
        return len(data)

    def _count(self) -> None:
        self._marks_left -= 1
        if self._marks_left < 0:
            raise self._too_many()

    def _too_many(self) -> Refusal:
        return Refusal(413, f"the JSON holds more than {self._values:,} values: send fewer")
