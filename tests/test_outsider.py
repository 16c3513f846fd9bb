"""The example of a backend from outside works by its entry point alone, and passes the suite."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uv")

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "outsider"
BOOK = "the keeper lit the lamp and the lamp lit the sea and the sea was calm and the keeper slept "
SUITE = """
import pytest
import blazen_outsider
from blazen.testing import ModelSuite

class TestOutsider(ModelSuite):
    @pytest.fixture
    def model(self):
        return blazen_outsider.ChainModel(blazen_outsider.ChainOptions("book.json"))

    @pytest.fixture
    def broken_model(self):
        return lambda path: blazen_outsider.ChainModel(blazen_outsider.ChainOptions(path))
"""


def run(*command, cwd):
    """Run a command outside of the environment that the tests run in."""
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of a new environment that holds blazen, the example, pytest and no more."""
    folder = tmp_path_factory.mktemp("outsider")
    example = shutil.copytree(EXAMPLE, folder / "example")
    venv = folder / "venv"
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--quiet", "--python", sys.executable, venv, cwd=folder)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # uv remembers what it once built of a folder, even if a module in it has changed since.
    packages = ("--refresh-package", "blazen", ROOT, example, "pytest")
    run(*uv, "pip", "install", "--quiet", "--python", python, *packages, cwd=folder)
    train = f"import blazen_outsider; blazen_outsider.train({BOOK!r}, 'book.json')"
    run(python, "-c", train, cwd=folder)
    return python


@pytest.fixture
def folder(python):
    return python.parents[2]


def test_it_is_two_files():
    assert sorted(path.name for path in EXAMPLE.iterdir() if path.is_file()) == [
        "blazen_outsider.py",
        "pyproject.toml",
    ]


def test_it_is_listed_as_installed(python, folder):
    code = "import blazen, json; print(json.dumps([b.to_dict() for b in blazen.backends('model')]))"
    found = {
        backend["name"]: backend for backend in json.loads(run(python, "-c", code, cwd=folder))
    }
    outsider = found["outsider"]
    assert (outsider["distribution"], outsider["version"]) == ("blazen-outsider", "1.0.0")
    assert outsider["installed"]
    assert not found["xllamacpp"]["installed"]


def test_it_is_built_and_asked_by_its_spec(python, folder):
    code = (
        "import blazen\n"
        "model = blazen.blocking(blazen.Model.from_spec('outsider:book.json'))\n"
        "options = blazen.CompletionOptions(max_tokens=4, temperature=0)\n"
        "print(model.complete('and the', options).content)\n"
        "model.unload()"
    )
    assert run(python, "-c", code, cwd=folder).strip() == "lamp and the lamp"


def test_it_passes_the_shipped_suite_where_no_plugin_is(python, folder):
    (folder / "test_suite.py").write_text(SUITE, "utf-8")
    output = run(python, "-W", "error", "-m", "pytest", "-q", "-W", "error", "-rs",
                 "test_suite.py", cwd=folder)  # fmt: skip
    passed = re.search(r"(\d+) passed", output)
    assert passed
    assert int(passed[1]) >= 70
    skipped = re.findall(r"^SKIPPED \[\d+\] \S+ (.*)$", output, re.MULTILINE)
    # It refuses what it does not do, by name: the suite takes that for an answer.
    taken_out = ("too_long_prompt", "stop", "Prompt", "response_format", "tools", "logprobs")
    assert all(any(name in reason for name in taken_out) for reason in skipped), skipped
    assert len(skipped) < 12


def test_the_page_that_grows_it_shows_what_it_is():
    page = (ROOT / "docs" / "own-backend.md").read_text("utf-8")
    shown = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    pieces = _definitions(shown)
    example = _definitions((EXAMPLE / "blazen_outsider.py").read_text("utf-8"))
    assert example
    assert {name: pieces.get(name) for name in example} == example
    toml = (EXAMPLE / "pyproject.toml").read_text("utf-8")
    assert toml in page


def _definitions(source):
    """The code of each function and class, by name; the last one counts."""
    tree = compile(source, "page", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name: ast.unparse(node) for node in tree.body if isinstance(node, kinds)}
