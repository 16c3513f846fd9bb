"""A machine that has the starter models and no others, and clients of the protocol's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from blazen.catalog import Catalog

_ELSEWHERE = ("BLAZEN_CONFIG", "BLAZEN_MODEL_DIR", "BLAZEN_API_KEY", "OLLAMA_MODELS", "HF_HOME")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that looks nowhere else for models."""
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "blazen.toml"
    path.write_text("[discover]\ncache = false\nprograms = false\n")
    monkeypatch.setenv("BLAZEN_CONFIG", str(path))
    return path


@pytest.fixture
def catalog(config: Path) -> Catalog:
    """The starter models."""
    return Catalog.read(config)


async def ask(client: Client, tool: str, asked: Any, progress_callback: Any = None) -> Any:
    """Call a tool, and give its result as it came."""
    return await client.call_tool(tool, asked, progress_callback=progress_callback)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to be so."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it never came to be"
        await asyncio.sleep(0.01)
