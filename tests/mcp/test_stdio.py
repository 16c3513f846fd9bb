"""The program as a client starts it: what it writes, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters, stdio_client
from mcp.client import Client

from blazen.catalog import Catalog
from blazen.mcp import serve_stdio
from blazen.mcp.stdio import serve_pipes
from tests.mcp.conftest import ask

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")

PROGRAM = (sys.executable, "-m", "blazen.cli", "mcp", "--verbose")
PARIS = [{"role": "user", "content": "What is the capital of France? One word."}]
WAIT = 120

# A server whose engines print, in each way that a program can.
NOISY = """
import ctypes, os, subprocess, sys
from blazen.catalog import OpenCatalog
from blazen.cli import main
listings = OpenCatalog.listings
def loud(self, kind=None):
    print("noise of Python")
    os.write(1, b"noise of the system\\n")
    ctypes.CDLL(None).printf(b"noise of C, held back until the end\\n")
    subprocess.run([sys.executable, "-c", "print('noise of a child')"], check=True)
    assert sys.stdin.read() == ""
    return listings(self, kind)
OpenCatalog.listings = loud
sys.argv = ["blazen", "mcp"]
sys.exit(main())
"""


class Program:
    """A server in a process, spoken to by hand."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe)
        self.lines: list[dict[str, Any]] = []

    def send(self, method: str, params: Any = None, id: int | None = None) -> None:  # noqa: A002
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if id is not None:
            message["id"] = id
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def read(self, wanted: Any) -> dict[str, Any]:
        """Read messages until one is wanted; each line has to be one."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            assert self.lines[-1]["jsonrpc"] == "2.0"
            if wanted(self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(f"it ended: {self.process.stderr and self.process.stderr.read()!r}")

    def greet(self) -> dict[str, Any]:
        client = {"name": "test", "version": "1"}
        self.send(
            "initialize",
            {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client},
            id=1,
        )
        answer = self.read(lambda m: m.get("id") == 1)
        self.send("notifications/initialized")
        return answer

    def call(self, tool: str, asked: dict[str, Any], id: int) -> None:  # noqa: A002
        meta = {"progressToken": id}
        self.send("tools/call", {"name": tool, "arguments": asked, "_meta": meta}, id=id)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; give its code and the rest of what it wrote."""
        out, err = self.process.communicate(timeout=WAIT)
        return self.process.returncode, out.decode(), err.decode()


@contextmanager
def program(*arguments: str) -> Iterator[Program]:
    it = Program(arguments or PROGRAM)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.communicate()


@asynccontextmanager
async def client(mode: Any, errors: Path) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=PROGRAM[0], args=list(PROGRAM[1:]), env=dict(os.environ)
    )
    with errors.open("w") as log:
        async with Client(stdio_client(parameters, errlog=log), mode=mode) as it:
            yield it


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_the_sdk_starts_it_and_asks(
    config: Path, tmp_path: Path, mode: str
) -> None:
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with client(mode, tmp_path / "log") as it:
        assert it.server_info is not None
        assert it.server_info.name == "blazen"
        asked = {"messages": PARIS, "temperature": 0}
        answer = await ask(it, "chat", asked, progress_callback=hear)
        assert answer.structured_content["text"] == "The capital of France is Paris."
        known = (await ask(it, "models", {"kind": "model"})).structured_content["models"]
        assert {"starter:chat": True}.items() <= {m["name"]: m["loaded"] for m in known}.items()
        begun = asyncio.Event()

        async def begin(progress: float, total: float | None, message: str | None) -> None:
            if "token" in (message or ""):
                begun.set()

        endless = {"prompt": "1, 2, 3,", "raw": True, "max_tokens": 100_000}
        call = asyncio.ensure_future(ask(it, "generate", endless, progress_callback=begin))
        await asyncio.wait_for(begun.wait(), WAIT)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        again = await ask(it, "chat", asked)
        assert again.structured_content["text"] == answer.structured_content["text"]
    assert heard[0] == "loading starter:chat"
    assert re.fullmatch(r"\d+ tokens", heard[-1])
    log = (tmp_path / "log").read_text()
    cancelled = re.search(r"generate was cancelled after (\d+) pieces", log)
    assert cancelled is not None
    assert 0 < int(cancelled[1]) < 100_000
    assert "unloaded starter:chat" in log
    assert "Traceback" not in log


def test_stdout_has_nothing_but_messages(config: Path) -> None:
    with program(sys.executable, "-c", NOISY) as it:
        greeted = it.greet()
        assert greeted["result"]["serverInfo"]["name"] == "blazen"
        assert "tools" in greeted["result"]["capabilities"]
        it.call("models", {}, 2)
        answer = it.read(lambda m: m.get("id") == 2)
        assert answer["result"]["structuredContent"]["models"]
        code, rest, errors = it.end()
    assert (code, rest) == (0, "")
    for noise in ("of Python", "of the system", "of C", "of a child"):
        assert f"noise {noise}" in errors


def test_what_is_no_message_is_passed_over(config: Path) -> None:
    with program() as it:
        assert it.process.stdin is not None
        it.process.stdin.write(b"\n  \nthis is no JSON\n{}\n\xff\xfe\n" + b"[" * 100_000 + b"\n")
        assert it.greet()["result"]["serverInfo"]["name"] == "blazen"
        it.process.stdin.write(b'{"jsonrpc": "2.0", "method": "ping", "id": 5}')  # and the end
        code, rest, _ = it.end()
    assert code == 0
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a program at once")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_it_in_order_in_the_midst_of_an_answer(
    config: Path, number: signal.Signals, code: int
) -> None:
    with program() as it:
        it.greet()
        it.call("generate", {"prompt": "1, 2,", "raw": True, "max_tokens": 100_000}, 2)
        it.read(lambda m: "token" in m.get("params", {}).get("message", ""))
        it.process.send_signal(number)
        ended, _, errors = it.end()
    assert ended == code, errors
    assert re.search(r"generate was cancelled after \d+ pieces", errors)
    assert "unloaded starter:chat" in errors
    assert "Traceback" not in errors


def test_the_end_of_stdin_ends_it_in_the_midst_of_an_answer(config: Path) -> None:
    with program() as it:
        it.greet()
        it.call("generate", {"prompt": "1, 2,", "raw": True, "max_tokens": 100_000}, 2)
        it.read(lambda m: "token" in m.get("params", {}).get("message", ""))
        code, _, errors = it.end()
    assert code == 0
    assert re.search(r"generate was cancelled after \d+ pieces", errors)
    assert "unloaded starter:chat" in errors
    assert "Traceback" not in errors


async def test_a_message_may_be_long(catalog: Catalog) -> None:
    ours, theirs = os.pipe(), os.pipe()
    answered = threading.Event()
    lines: list[Any] = []

    def write() -> None:
        client = {"name": "test", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        long = {"name": "no such", "arguments": {"text": "long " * 100_000}}
        with os.fdopen(ours[1], "w") as file:
            for message in (
                {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
                {"jsonrpc": "2.0", "method": "notifications/initialized"},
                {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": long},
            ):
                file.write(json.dumps(message) + "\n")
            file.flush()
            answered.wait(WAIT)

    def read() -> None:
        with os.fdopen(theirs[0]) as file:
            for line in file:
                lines.append(json.loads(line))
                if lines[-1].get("id") == 2:
                    answered.set()

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    async with catalog.start() as models:
        await serve_pipes(lambda: models, ours[0], theirs[1])
    os.close(ours[0])
    os.close(theirs[1])
    for thread in threads:
        thread.join(WAIT)
    assert [line["id"] for line in lines] == [1, 2]
    assert "there is no tool 'no such'" in lines[1]["result"]["content"][0]["text"]


async def test_where_stdin_is_at_its_end_it_ends(
    catalog: Catalog, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere, before = os.open(os.devnull, os.O_RDONLY), os.dup(0)
    os.dup2(nowhere, 0)
    try:
        await asyncio.wait_for(serve_stdio(catalog.start()), WAIT)
        os.write(1, b"stdout is what it was")
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(nowhere)
    assert capfd.readouterr().out == "stdout is what it was"
