"""The name of a function where it stands without quotes."""

from __future__ import annotations

import re

from blazen.chat.cursor import Cursor, Reading

_NAME = re.compile(r"[\w.:/-]{0,256}")


def read_name(cursor: Cursor, ends: tuple[str, ...]) -> Reading[str | None]:
    """Read a name up to one of the ends, which is not read; ``None`` where none stands there.

    Spaces may stand around it.
    """
    yield from cursor.skip_space()
    while True:
        found = _NAME.match(cursor.text, cursor.at)
        end = cursor.at if found is None else found.end()
        if end < len(cursor.text):
            break
        if not (yield from cursor.more()):
            return None
    name = cursor.text[cursor.at : end]
    if not name:
        return None
    cursor.at = end
    yield from cursor.skip_space()
    for mark in ends:
        if (yield from cursor.comes(mark)):
            return name
    return None
