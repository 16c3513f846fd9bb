"""What a benchmark found, as a table: on the terminal, and in the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def rows(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give each figure with its name in words; what lies deeper has its place before its name."""
    for name, value in found.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from rows(value, f"{words}: ")
        else:
            yield words, f"{value:.4g}" if isinstance(value, float) else str(value)


def table(found: Mapping[str, Any]) -> str:
    """Give a Markdown table, the ratios in bold."""
    lines = ["| measured | value |", "|---|---|"]
    for words, value in rows(found):
        lines.append(f"| {words} | {f'**{value}**' if 'ratio' in words else value} |")
    return "\n".join(lines)
