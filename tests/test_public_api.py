"""What ``blazen`` shows: names that agree with each other, have documentation and cost nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import blazen

ROOT = Path(__file__).parents[1]
SHOWN_TO_TOOLS = {
    alias.asname: (node.module, alias.name)
    for node in ast.walk(ast.parse(Path(blazen.__file__).read_text("utf-8")))
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("blazen.", "blazen_"))
    for alias in node.names
}
SHOWN_AT_RUN_TIME = {
    name: (blazen._MODULE_OF[blazen._ALIASES.get(name, name)], blazen._ALIASES.get(name, name))
    for name in blazen.__all__
}
HEAVY = [
    # HTTP clients
    "aiohttp", "http.client", "httpx", "requests", "urllib.request", "urllib3",
    # arrays and media
    "PIL", "av", "numpy", "sounddevice", "trimesh",
    # engines and what comes with them
    "fastembed", "huggingface_hub", "llama_cpp", "mistralrs", "onnxruntime", "piper",
    "pywhispercpp", "torch", "transformers", "xllamacpp",
]  # fmt: skip


def test_type_checkers_see_what_runs():
    assert SHOWN_TO_TOOLS == SHOWN_AT_RUN_TIME
    assert len(blazen.__all__) == len(set(blazen.__all__))


@pytest.mark.parametrize("name", blazen.__all__)
def test_a_public_name_is_there_and_tells_what_it_is(name):
    value = getattr(blazen, name)
    module, original = SHOWN_AT_RUN_TIME[name]
    assert value is getattr(importlib.import_module(module), original)
    if inspect.isclass(value) or inspect.isroutine(value):
        # A dataclass without words of its own has its signature as docstring.
        assert value.__doc__
        assert not value.__doc__.startswith(f"{value.__name__}(")
    assert name in dir(blazen)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        blazen.Modell  # noqa: B018 - looking it up is the test


def test_every_public_name_is_in_the_reference():
    pages = (ROOT / "docs" / "reference").glob("*.md")
    described = [
        name
        for page in pages
        for name in re.findall(r"^::: blazen\.(\w+)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    originals = set(blazen.__all__) - set(blazen._ALIASES)
    assert sorted(name for name in described if name in originals) == sorted(originals)


@pytest.mark.parametrize(
    "statement",
    ["import blazen", "from blazen import *", "import blazen; blazen.backends()"],
)
def test_importing_brings_no_engine_and_no_client(statement):
    code = f"{statement}\nimport sys\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_blazen_alone_loads_none_of_its_parts():
    code = "import blazen, sys\nprint([m for m in sys.modules if m.startswith('blazen.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
