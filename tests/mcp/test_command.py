"""``blazen mcp``: what it is told on the command line."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from mcp.client import Client

from blazen.cli.commands import mcp as command_module
from blazen.cli.commands.mcp import read_address
from blazen.cli.program import program
from blazen.errors import ValidationError
from tests.mcp.conftest import ask

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost", ("localhost", 8643)),
        ("9000", ("127.0.0.1", 9000)),
        (":0", ("127.0.0.1", 0)),
        ("[::1]:81", ("::1", 81)),
        ("[::1]", ("::1", 8643)),
        ("0.0.0.0:82", ("0.0.0.0", 82)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert read_address(text) == place


@pytest.mark.parametrize("text", ["localhost:x", "a:65536", "a:-1"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(ValidationError, match="write HOST:PORT"):
        read_address(text)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--http", "0.0.0.0:0"], 2, "others can reach 0.0.0.0: ask clients for a key"),
        (["--http", "localhost:x"], 2, "write HOST:PORT"),
        (["--http", ":0", "--allow-dir", "."], 2, "--allow-dir is for stdio alone"),
        (["--api-key", "k"], 2, "--api-key is for HTTP: say --http too"),
        (["--allow-host", "k"], 2, "--allow-host is for HTTP: say --http too"),
        (["--allow-dir", "no/such/folder"], 2, "no/such/folder"),
        (["--keep-alive", "-1"], 2, "keep-alive"),
        (["no-such-model"], 3, "no-such-model"),
    ],
)
def test_what_is_wrong_is_said_before_it_serves(
    config: Path, arguments: list[str], code: int, said: str
) -> None:
    result = CliRunner().invoke(program, ["mcp", *arguments])
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("settings", "arguments", "alive"),
    [
        ("", [], 600.0),
        ("", ["--keep-alive", "5"], 5.0),
        ("[manager]\nkeep_alive = 30\n", [], 30),
        ("[manager]\nkeep_alive = 30\n", ["--keep-alive", "0"], 0.0),
    ],
)
def test_how_long_a_model_stays(
    config: Path, settings: str, arguments: list[str], alive: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text() + settings)
    seen = []

    async def serve(models: object, *_: object, **__: object) -> None:
        async with models as opened:  # type: ignore[attr-defined]
            name = await opened.name_of("starter:chat", "model")
            seen.append((name, opened.manager.status().models[0].keep_alive))

    monkeypatch.setattr("blazen.mcp.stdio.serve_stdio", serve)
    result = CliRunner().invoke(command_module.command, arguments)
    assert result.exit_code == 0, result.output
    assert seen == [("starter:chat", alive)]


async def test_it_serves_over_http_until_a_signal(config: Path) -> None:
    with _running("--http", "127.0.0.1:0", "--verbose", "starter:chat") as process:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"tools are at (http://127\.0\.0\.1:\d+/mcp)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        async with Client(found[1]) as client:
            answer = await ask(client, "chat", {"messages": [{"role": "user", "content": "Hi"}]})
            assert answer.structured_content["text"]
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "")
    assert "unloaded starter:chat" in rest
    assert "Traceback" not in rest


@contextmanager
def _running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "blazen.cli", "mcp", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
