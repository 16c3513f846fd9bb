"""Reading JSON while it is being written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from blazen.chat.cursor import Cursor, Reading

_IN_TEXT = re.compile(r'[^"\\]*')
_BETWEEN = re.compile(r'[^"{}\[\]<]*')
_SCALAR = re.compile(r"[^\s,}\]<]*")


def copy_value(cursor: Cursor, emit: Callable[[str], None]) -> Reading[bool]:
    """Hand out one value as it is written, character for character; false where it was cut.

    Outside of a text JSON has no ``<``: there a mark of the model begins, and the value ends.
    """
    first = yield from cursor.skip_space()
    if first not in ("{", "[", '"'):
        return (yield from _copy_scalar(cursor, emit))
    depth = 0
    in_text = escaped = False
    while True:
        text, start = cursor.text, cursor.at
        at, done = start, False
        while at < len(text) and not done:
            if escaped:
                at += 1
                escaped = False
                continue
            at = _match_end(_IN_TEXT if in_text else _BETWEEN, text, at)
            if at == len(text):
                break
            letter = text[at]
            if in_text:
                escaped = letter == "\\"
                in_text = escaped
                done = letter == '"' and depth == 0
            elif letter == "<":
                cursor.at = at
                emit(text[start:at])
                return True
            elif letter == '"':
                in_text = True
            else:
                depth += 1 if letter in "{[" else -1
                done = depth == 0
            at += 1
        cursor.at = at
        emit(text[start:at])
        if done:
            return True
        if not (yield from cursor.more()):
            return False


def _match_end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _copy_scalar(cursor: Cursor, emit: Callable[[str], None]) -> Reading[bool]:
    while True:
        text, start = cursor.text, cursor.at
        cursor.at = _match_end(_SCALAR, text, start)
        emit(text[start : cursor.at])
        if cursor.at < len(text):
            return True
        if not (yield from cursor.more()):
            return False


def read_text(cursor: Cursor) -> Reading[tuple[str, bool] | None]:
    """Read a text between quotes; and whether it was whole. ``None`` where it is none."""
    pieces: list[str] = []
    if (yield from cursor.skip_space()) != '"':
        return None
    whole = yield from copy_value(cursor, pieces.append)
    raw = "".join(pieces)
    try:
        return json.loads(raw if whole else f'{_without_part(raw)}"', strict=False), whole
    except ValueError:
        return None


def _without_part(raw: str) -> str:
    """Leave out an escape that was cut."""
    cut = re.search(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z", raw)
    return raw if cut is None else raw[: cut.start(1)]
