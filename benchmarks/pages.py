"""A hook of the documentation: ``<!-- benchmark: NAME -->`` becomes what was recorded."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "docs" / "benchmarks"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the recorded tables into a page."""
    return re.sub(r"<!-- benchmark: (\w+) -->", _recorded, markdown)


def _recorded(match: re.Match[str]) -> str:
    # mkdocs loads this file by its path, so that its neighbours are not importable by themselves.
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.tables import table
    finally:
        sys.path.remove(str(ROOT))
    file = RECORDED / f"{match[1]}.json"
    return table(json.loads(file.read_text("utf-8"))) if file.exists() else "Not recorded yet."
