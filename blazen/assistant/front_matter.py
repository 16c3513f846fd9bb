"""The few lines ahead of a Markdown file that say what it is."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"([A-Za-z][\w-]*)[ \t]*:[ \t]*(.*)")
_FOLDED = re.compile(r"[>|][+-]?\d*")


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """Give the fields of a front matter as texts, and what follows it.

    It knows ``name: value``, quotes, and values that go on in indented lines: what such files hold
    in practice. A text without a front matter has no fields.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found = _BLOCK.match(text)
    if found is None:
        return {}, text
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in found[1].split("\n"):
        field = _FIELD.fullmatch(line.rstrip())
        if field is not None:
            value = field[2].strip()
            current = fields[field[1].lower()] = [] if _FOLDED.fullmatch(value) else [value]
        elif current is not None and line[:1].isspace():
            current.append(line.strip())
    values = {name: _plain(" ".join(filter(None, lines))) for name, lines in fields.items()}
    return values, text[found.end() :]


def _plain(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
