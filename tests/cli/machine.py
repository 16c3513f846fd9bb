"""A machine for tests of what is found on it: an empty home, an empty cache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

_ELSEWHERE = (
    "BLAZEN_CONFIG",
    "BLAZEN_MODEL_DIR",
    "BLAZEN_OFFLINE",
    "HF_HUB_OFFLINE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "HUGGINGFACE_HUB_CACHE",
    "OLLAMA_MODELS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)


def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty home, stand in it, and have blazen's cache beside it."""
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(home)
    return home


def json_of(result: Result) -> Any:
    """Give what a command printed as JSON; it must have gone well."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def in_a_process(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as users do."""
    return subprocess.run(
        [sys.executable, "-m", "blazen.cli", *args],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
