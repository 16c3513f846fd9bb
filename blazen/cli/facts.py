"""Facts on the screen: a name and a value a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blazen.cli.output import emit, is_terminal, safe


def emit_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Write names with their values, which stand below each other; in a pipe after a tab.

    What has no value is left out.
    """
    rows = [(name, safe(text, line=True)) for name, value in facts if (text := worded(value))]
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        emit(f"{name:<{width}}  {text}" if is_terminal() else f"{name}\t{text}")


def worded(value: Any) -> str:
    """Write a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
