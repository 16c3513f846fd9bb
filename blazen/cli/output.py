"""What commands write: results on stdout alone, words for the user on stderr.

On a terminal a table has a header and aligned columns; in a pipe it is one line a row, its cells
apart by tabs, so that ``cut`` and ``wc`` work.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import click


def emit(text: str = "", *, newline: bool = True) -> None:
    """Write a part of the result to stdout, at once."""
    shown = safe(text) if _is_terminal(sys.stdout) else text
    _write(shown + "\n" if newline else shown)


def say(text: str = "", *, newline: bool = True) -> None:
    """Tell the user something on stderr: it is no part of the result."""
    click.echo(safe(text) if _is_terminal(sys.stderr) else text, nl=newline, err=True)


def emit_json(value: Any) -> None:
    """Write a result as JSON: a record, or anything made of plain values and records."""
    import json

    from blazen.types.record import encode

    indent = 2 if _is_terminal(sys.stdout) else None
    text = json.dumps(encode(value), ensure_ascii=False, indent=indent)
    # A name that the system's encoding can't hold must not break the one line that was asked for.
    _write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def emit_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Collection[str] = ()
) -> None:
    """Write a table; ``right`` names the columns of numbers. ``None`` is an empty cell."""
    cells = [["" if cell is None else safe(str(cell), line=True) for cell in row] for row in rows]
    if not _is_terminal(sys.stdout):
        for row in cells:
            _write("\t".join(row) + "\n")
        return
    widths = [max(map(_width, column)) for column in zip(columns, *cells, strict=True)]
    sides = [name in right for name in columns]
    header = _line([name.upper() for name in columns], widths, sides)
    click.echo(click.style(header, bold=True))
    for row in cells:
        _write(_line(row, widths, sides) + "\n")


def safe(text: str, *, line: bool = False) -> str:
    """Take out what would steer the terminal: a model's answer or a file's name may hold it."""
    kept = "" if line else "\n\t"
    return "".join(c for c in text if c in kept or unicodedata.category(c) != "Cc")


def amount(size: int | None) -> str:
    """Word a number of bytes: ``1.4 GB``."""
    if size is None:
        return ""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{size} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _write(text: str) -> None:
    """Write to stdout what is there, codes for a terminal too: click would take them out."""
    if sys.stdout is None:  # closed by who began the program: nobody wants to read it
        return
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def is_terminal() -> bool:
    """Tell whether stdout is a terminal: someone looks at it, no other program."""
    return _is_terminal(sys.stdout)


def is_watched() -> bool:
    """Tell whether stderr is a terminal: words and bars are seen there."""
    return _is_terminal(sys.stderr)


def is_typed() -> bool:
    """Tell whether stdin is a terminal: someone can be asked, nothing is piped in."""
    return _is_terminal(sys.stdin)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # none, or closed
        return False


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        " " * (width - _width(cell)) + cell if side else cell + " " * (width - _width(cell))
        for cell, width, side in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """How many columns a text takes: two for each of the wide characters."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)
