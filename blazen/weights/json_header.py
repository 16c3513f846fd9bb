"""Reading JSON of a known shape from a file that may be hostile.

It is read piece by piece against the shape, so that deep nesting or a million small objects are
refused where they start, and never become objects in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blazen.errors import ValidationError

_SPACE = re.compile(r"[ \t\n\r]*")
_SMALL = re.compile(r"\{[^{}]{0,4096}\}")
_STRING = json.JSONDecoder().raw_decode


class JsonHeader:
    """Reads JSON of a known shape, one member at a time."""

    def __init__(self, path: Path, data: bytes, size: int) -> None:
        if len(data) != size:
            raise ValidationError(f"{path} ends in the middle of its header: fetch it again")
        self.path = path
        # One byte for each character, whatever the text holds: an emoji would make it four.
        self._text = data.decode("latin-1")
        self._at = 0

    def members(self, member: Callable[[str], None]) -> None:
        """Read an object; ``member`` is called at each value and must read it."""
        self._expect("{")
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            name = self.text()
            self._expect(":")
            member(name)
            if self._peek() == "}":
                self._at += 1
                return
            self._expect(",")

    def text(self) -> str:
        """Read a text."""
        if self._peek() != '"':
            raise self._broken("a text")
        start = self._at
        try:
            value, self._at = _STRING(self._text, start)
            if not value.isascii():
                raw = self._text[start : self._at].encode("latin-1")
                value = json.loads(raw) if b"\\" in raw else raw[1:-1].decode("utf-8")
                value.encode("utf-8")  # half of a surrogate pair is no text
        except ValueError as error:
            raise self._broken("a text in UTF-8") from error
        return str(value)

    def small(self) -> dict[str, Any]:
        """Read an object without objects inside."""
        self._peek()
        found = _SMALL.match(self._text, self._at)
        if found is None:
            raise self._broken("a small object")
        self._at = found.end()
        pairs: list[tuple[str, Any]] = []
        try:
            json.loads(found.group().encode("latin-1"), object_pairs_hook=pairs.extend)
        except (ValueError, RecursionError) as error:
            raise self._broken("a small object before this") from error
        value: dict[str, Any] = {}
        for key, item in pairs:
            self.once(value, key, item)
        return value

    def once(self, into: dict[str, Any], key: str, value: Any) -> None:
        """Keep a member; a second of the same name is an error."""
        if key in into:
            raise self._bad(f"its header holds {key!r:.80} twice")
        into[key] = value

    def end(self) -> None:
        """Check that nothing follows."""
        if self._peek():
            raise self._broken("the end")

    def _peek(self) -> str:
        character = self._text[self._at : self._at + 1]
        if character.isspace():
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            character = self._text[self._at : self._at + 1]
        return character

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._broken(repr(character))
        self._at += 1

    def _broken(self, wanted: str) -> ValidationError:
        there = self._text[self._at : self._at + 20]
        return self._bad(f"its JSON has {there!r} at {self._at} where {wanted} should be")

    def _bad(self, problem: str) -> ValidationError:
        return ValidationError(f"{self.path} is no safetensors file that can be read: {problem}")
