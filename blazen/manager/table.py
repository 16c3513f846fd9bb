"""A manager's status as a table: one line a pool and one line a model."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from blazen.manager.status import ManagerStatus, ModelStatus, PoolStatus

_Row: TypeAlias = tuple[str, ...]

_POOLS: _Row = ("pool", "budget", "used", "free", "")
_MODELS: _Row = ("model", "state", "memory", "requests", "idle", "load", "")
_RIGHT = {"budget", "used", "free", "idle", "load"}
_LONGEST = 60
_STEP = 1024.0


def render(status: ManagerStatus) -> str:
    """Write a status for a terminal."""
    parts = [_aligned([_POOLS, *map(_pool, status.pools)])]
    if status.models:
        parts.append(_aligned([_MODELS, *map(_model, status.models)]))
    parts.append(_summary(status))
    return "\n\n".join(filter(None, parts))


def render_html(status: ManagerStatus) -> str:
    """Write a status for a notebook."""
    parts = [_html([_POOLS, *map(_pool, status.pools)])]
    if status.models:
        parts.append(_html([_MODELS, *map(_model, status.models)]))
    summary = _summary(status)
    if summary:
        parts.append(f"<p>{_escaped(summary)}</p>")
    return f"<div>{''.join(parts)}</div>"


def _pool(pool: PoolStatus) -> _Row:
    notes = []
    if pool.quarantined:
        notes.append(f"{size(pool.quarantined)} not given back")
    if pool.foreign:
        notes.append(f"{size(pool.foreign)} taken by other programs")
    cells = (pool.name, size(pool.budget), size(pool.used), size(pool.available))
    return (*map(_clean, cells), ", ".join(notes))


def _model(model: ModelStatus) -> _Row:
    held = (f"{pool} {size(amount)}" for pool, amount in sorted(model.charges.items()) if amount)
    requests = [
        f"{number} {what}"
        for number, what in ((model.leases, "running"), (model.waiting, "waiting"))
        if number
    ]
    cells = (
        model.id,
        model.state.value,
        " + ".join(held) or "-",
        ", ".join(requests) or "-",
        "-" if model.idle_seconds is None else seconds(model.idle_seconds),
        "-" if model.load_seconds is None else seconds(model.load_seconds),
        ", ".join(_notes(model)),
    )
    return tuple(map(_clean, cells))


def _notes(model: ModelStatus) -> Iterable[str]:
    if model.pinned:
        yield "pinned"
    if model.priority:
        yield f"priority {model.priority}"
    if model.keep_alive is not None:
        yield f"stays {seconds(model.keep_alive)}" if model.keep_alive else "goes at once"
    if model.fallback:
        yield f"else {', '.join(model.fallback)}"
    if model.problem:
        problem = " ".join(model.problem.split())
        yield problem if len(problem) <= _LONGEST else f"{problem[: _LONGEST - 1]}…"


def _summary(status: ManagerStatus) -> str:
    parts = []
    if not status.models:
        parts.append("no models")
    if status.waiting:
        parts.append(f"{status.waiting} request{'s wait' if status.waiting > 1 else ' waits'}")
    if status.cores:
        parts.append(f"{status.cores_used} of {status.cores} cores used")
    return ", ".join(parts)


def size(amount: int) -> str:
    """Write bytes as a person reads them: ``512 B``, ``1.5 GiB``, ``120 MiB``."""
    value, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        # 1023.9 would be written as 1024.
        if abs(value) < _STEP - 0.5:
            break
        value, unit = value / _STEP, larger
    exact = unit == "B" or abs(value) >= 99.95
    return f"{value:.0f} {unit}" if exact else f"{value:.1f} {unit}"


def seconds(value: float) -> str:
    """Write a time as a person reads it: ``0.3 s``, ``12 s``, ``5 min``, ``2.5 h``."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 99.5:
        return f"{value:.0f} s"
    if value < 5_970:
        return f"{value / 60:.0f} min"
    if value < 172_800:
        return f"{value / 3_600:.1f} h"
    return f"{value / 86_400:.0f} d"


def _clean(text: str) -> str:
    """Keep what an id may hold from moving the cursor or breaking the line."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _aligned(rows: Sequence[_Row]) -> str:
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            _padded(cell, width, right=name in _RIGHT)
            for cell, width, name in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    )


def _padded(cell: str, width: int, *, right: bool) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if right else cell + gap


def _width(text: str) -> int:
    """Count the columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def _html(rows: Sequence[_Row]) -> str:
    head, *body = rows
    sides = ["right" if name in _RIGHT else "left" for name in head]
    written = [_html_row("th", head, sides), *(_html_row("td", row, sides) for row in body)]
    return f"<table><thead>{written[0]}</thead><tbody>{''.join(written[1:])}</tbody></table>"


def _html_row(tag: str, row: _Row, sides: Sequence[str]) -> str:
    cells = (
        f'<{tag} style="text-align: {side}">{_escaped(cell)}</{tag}>'
        for cell, side in zip(row, sides, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
