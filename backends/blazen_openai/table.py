"""The rows as a table, for the page about gateways: ``python -m blazen_openai.table FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from blazen_openai.gateway import Gateway
from blazen_openai.gateways import GATEWAYS


def rows() -> Iterator[str]:
    """Give a line of the table for each row."""
    for row in GATEWAYS.values():
        cells = (
            f"`{row.name}`",
            f"[{row.title}]({row.docs})",
            f"`{row.base_url}`" if row.base_url else "`base_url`",
            " or ".join(f"`{key}`" for key in row.keys) + ("" if row.needs_key else _optional(row)),
            ", ".join(row.kinds),
            ", ".join(row.apis),
            _shapes(row),
            ", ".join(f"`{name}`" for name in sorted(row.refuses)) or "–",
            row.note or "–",
            row.checked,
        )
        yield f"| {' | '.join(cells)} |"


def _optional(row: Gateway) -> str:
    return " (if set)" if row.keys else "none"


def _shapes(row: Gateway) -> str:
    told = {
        "strict": "JSON, schema",
        "loose": "JSON, schema (checked)",
        "schema": "JSON, schema",
        "vllm": "JSON, schema, regex",
        "grammar": "JSON, schema, regex, grammar",
        "fireworks": "JSON, schema, grammar",
        "tgi": "JSON, schema, regex",
        "json": "JSON",
    }
    return "–" if "response_format" in row.refuses else told[row.shape]


def write(path: Path) -> None:
    """Put the rows into a page, in the place of those that it has."""
    lines = path.read_text("utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---")) + 1
    after = next((n for n in range(first, len(lines)) if not lines[n].startswith("|")), len(lines))
    path.write_text("\n".join([*lines[:first], *rows(), *lines[after:]]) + "\n", "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
