"""The page on structured output names what the code knows, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from blazen.schema.formats import PATTERNS
from blazen.schema.regex_reader import MOST_REPEATS
from blazen.schema.value import KEYWORDS
from blazen.schema.vocabulary import ANNOTATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "structured-output.md").read_text("utf-8")


def quoted(text):
    return set(re.findall(r"`([^`]+)`", text))


def test_the_table_names_every_keyword():
    rows = [
        line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| ") and "`" in line
    ]
    assert set().union(*map(quoted, rows)) == KEYWORDS | {"$defs", "definitions"}


def test_the_notes_and_formats_are_named():
    notes = next(line for line in PAGE.splitlines() if "are notes" in line)
    assert quoted(notes.partition("are notes")[0]) == ANNOTATIONS - {"example"}
    formats = next(line for line in PAGE.splitlines() if line.startswith("- `format`"))
    assert quoted(formats) - {"format"} == set(PATTERNS)
    assert f"{MOST_REPEATS:,}" in PAGE
