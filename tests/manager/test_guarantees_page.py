"""Each guarantee on the page names a test, and that test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "manager-guarantees.md").read_text("utf-8")
GUARANTEES = {
    int(number): text for number, text in re.findall(r"^(\d+)\. (.+)$", PAGE, re.MULTILINE)
}
NAMED = re.compile(r"`(tests/manager/test_\w+\.py)::(\w+)`")


def _tests_of(file: str) -> set[str]:
    """Find what pytest would collect at the top of a file."""
    found: set[str] = set()
    for node in ast.parse((ROOT / file).read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in found if name.lower().startswith("test")}


def test_guarantees_are_numbered_in_order():
    assert list(GUARANTEES) == list(range(1, len(GUARANTEES) + 1))
    assert len(GUARANTEES) > 20


@pytest.mark.parametrize("number", GUARANTEES)
def test_a_guarantee_names_tests_that_are_there(number):
    named = NAMED.findall(GUARANTEES[number])
    assert named, f"guarantee {number} names no test"
    assert GUARANTEES[number].count("::") == len(named)
    for file, test in named:
        assert test in _tests_of(file), f"guarantee {number}: there is no {test} in {file}"
