"""The command line in this process, on a machine that has nothing but what a test gives it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from blazen.catalog.opening import backend_kinds
from blazen.cli.program import program

Cli: TypeAlias = Callable[..., Result]
Echo: TypeAlias = Callable[..., Path]

_ELSEWHERE = ("BLAZEN_MODEL_DIR", "BLAZEN_API_KEY", "BLAZEN_DEBUG", "NO_COLOR", "OLLAMA_MODELS")

_ECHO = """
[blazen.model]
echo = blazen.testing:EchoModel
[blazen.embedding]
echo = blazen.testing:EchoEmbedding
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in; no models are known but the starters."""
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "starters.toml"
    config.write_text("[discover]\ncache = false\nprograms = false\n", "utf-8")
    monkeypatch.setenv("BLAZEN_CONFIG", str(config))
    monkeypatch.setenv("BLAZEN_DATA", str(tmp_path / "data"))
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cli(place: Path) -> Cli:
    """Gives ``cli("run", "Hello", input="...")``, which runs a command and gives click's result."""

    def run(*args: str, input: str | bytes = "", **settings: Any) -> Result:  # noqa: A002
        return CliRunner().invoke(program, list(args), input=input, **settings)

    return run


@pytest.fixture
def echo(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Echo]:
    """Gives ``echo(name=options, ...)``: makes the echo backend known, and models of it.

    The file that names them is the configuration from then on.
    """
    about = tmp_path / "packages" / "blazen_echo-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: blazen-echo\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(_ECHO)
    monkeypatch.syspath_prepend(str(about.parent))
    # For the processes that a test begins.
    monkeypatch.setenv("PYTHONPATH", str(about.parent), prepend=os.pathsep)
    backend_kinds.cache_clear()

    def models(**named: dict[str, Any]) -> Path:
        tables = ["[discover]", "starters = false", "cache = false", "programs = false"]
        for name, table in named.items():
            tables += [f"[models.{name}]", 'spec = "echo:echo"']
            options = table.pop("options", {})
            tables += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
            if options:
                tables.append(f"[models.{name}.options]")
                tables += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
        path = tmp_path / "echo.toml"
        path.write_text("\n".join(tables), "utf-8")
        monkeypatch.setenv("BLAZEN_CONFIG", str(path))
        return path

    yield models
    backend_kinds.cache_clear()
