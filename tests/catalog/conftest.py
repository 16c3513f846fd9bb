"""A machine without models, so that a test has only those that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

_ELSEWHERE = (
    "BLAZEN_CONFIG",
    "BLAZEN_MODEL_DIR",
    "OLLAMA_MODELS",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with an empty cache of blazen's, in which the test stands."""
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(home)
    return home
