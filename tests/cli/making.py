"""What the tests of commands that make something share: the program in process, alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from blazen.cli.program import program

_ELSEWHERE = ("BLAZEN_CONFIG", "BLAZEN_MODEL_DIR", "OLLAMA_MODELS", "HF_HOME", "BLAZEN_DEBUG")


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch, models: str = "") -> Path:
    """Stand in an empty folder, on a machine that has the starter models and those given."""
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    config = folder / "blazen.toml"
    config.write_text(f"[discover]\ncache = false\nprograms = false\n{models}")
    monkeypatch.setenv("BLAZEN_CONFIG", str(config))
    place = folder / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def blazen(*arguments: str, given: str | bytes | None = None) -> Result:
    """Run a command; what it raised by mistake is raised."""
    return CliRunner().invoke(program, list(arguments), input=given)


def done(*arguments: str, given: str | bytes | None = None) -> Result:
    """Run a command that has to work."""
    result = blazen(*arguments, given=given)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str, given: str | bytes | None = None, code: int = 2) -> str:
    """Run a command that has to fail with a code; give what it says."""
    result = blazen(*arguments, given=given)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr
