"""Reading a call that is a JSON object with the name and the arguments in it."""

from __future__ import annotations

import enum
from collections.abc import Collection

from blazen.chat.calls.json_text import copy_value, read_text
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink

_NAMES = ("name", "function", "tool_name", "function_name")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_OTHERS = ("type", "id", "tool_call_id")


class _End(enum.Enum):
    """How the reading of an object or a member ended."""

    Whole = 1
    Broken = 2
    """It is no JSON, or no call."""
    Cut = 3
    """The answer ended."""


def read_call(cursor: Cursor, sink: Sink, known: Collection[str] | None = None) -> Reading[bool]:
    """Read one call; false where the object is none, or is cut before that is sure.

    With ``known`` names, as where no mark says that this is a call, it is one when the name is
    among them and arguments follow.
    """
    return _Call(cursor, sink, known).read()


class _Call:
    def __init__(self, cursor: Cursor, sink: Sink, known: Collection[str] | None) -> None:
        self._cursor = cursor
        self._sink = sink
        self._known = known
        self._name = ""
        self._begun = False
        self._within = False
        """Whether this is the object of the key ``function`` already."""
        self._arguments: list[str] | None = None
        """What was written before the name was."""
        self._given = False

    def read(self) -> Reading[bool]:
        end = yield from self._members()
        if not self._begun:
            return False
        if end is _End.Whole and not self._given:
            self._sink.arguments("{}")
        if end is not _End.Cut:
            self._sink.end_call()
        return True

    def _members(self) -> Reading[_End]:
        cursor = self._cursor
        if not (yield from cursor.starts_with("{")):
            return _End.Broken
        while True:
            letter = yield from cursor.skip_space()
            if letter == ",":
                cursor.at += 1
                continue
            if letter == "}":
                cursor.at += 1
                return _End.Whole
            key = yield from read_text(cursor)
            if key is None or (yield from cursor.skip_space()) != ":":
                return _End.Cut if cursor.ended else _End.Broken
            cursor.at += 1
            end = yield from self._member(key[0])
            if end is not _End.Whole:
                return end

    def _member(self, key: str) -> Reading[_End]:
        letter = yield from self._cursor.skip_space()
        if key in _NAMES and not self._name:
            if letter == "{" and not self._within:
                self._within = True
                return (yield from self._members())
            name = yield from read_text(self._cursor)
            if name is None or not name[1]:
                return _End.Cut if self._cursor.ended else _End.Broken
            self._name = name[0]
            if not self._name or (self._known is not None and self._name not in self._known):
                return _End.Broken
            if self._known is None or self._arguments is not None:
                self._begin()
            return _End.Whole
        if key in _ARGUMENTS and not self._given and self._arguments is None:
            return (yield from self._read_arguments(letter))
        if self._known is not None and key not in _OTHERS and not self._begun:
            return _End.Broken  # an answer in JSON: the sooner this is known the better
        return (yield from self._skip())

    def _begin(self) -> None:
        self._begun = True
        self._cursor.forget()
        self._sink.call(self._name)
        if self._arguments is not None:
            self._given = True
            self._sink.arguments("".join(self._arguments))

    def _read_arguments(self, letter: str) -> Reading[_End]:
        if self._name and not self._begun:
            self._begin()
        pieces: list[str] = []
        emit = self._sink.arguments if self._begun else pieces.append
        if letter == '"':  # JSON within a text
            read = yield from read_text(self._cursor)
            emit(read[0] if read is not None else "")
            end = _End.Whole if read is not None and read[1] else _End.Cut
        elif letter == "n":
            end = yield from self._skip()
            emit("{}" if end is _End.Whole else "")
        else:
            end = _End.Whole if (yield from copy_value(self._cursor, emit)) else _End.Cut
        if self._begun:
            self._given = True
        else:
            self._arguments = pieces
        return end

    def _skip(self) -> Reading[_End]:
        return _End.Whole if (yield from copy_value(self._cursor, _ignore)) else _End.Cut


def _ignore(_: str) -> None:
    pass
