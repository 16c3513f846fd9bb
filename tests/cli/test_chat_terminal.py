"""``blazen chat`` on a real terminal: a pseudo-terminal with the program behind it."""

from __future__ import annotations

import json
import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blazen.assistant import ConversationStore
from tests.cli.conftest import Echo

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals of this kind", allow_module_level=True)

import fcntl
import pty
import termios

_CODES = re.compile(rb"\x1b\[[0-9;?]*(?:[a-zA-Z]|$)|\x1b(?:[=>]|$)")


class Terminal:
    """A terminal, and the program that runs in it.

    Keys are pressed where the prompt is there: what comes before may be thrown away.
    """

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._fd = fd
        self._raw = b""
        self._seen = 0

    def until(self, text: str, seconds: float = 60) -> str:
        """Read until a text comes that was not read before; give what came till its end."""
        end = time.monotonic() + seconds
        while True:
            plain = _CODES.sub(b"", self._raw).decode("utf-8", "replace")
            found = plain.find(text, self._seen)
            if found >= 0:
                came = plain[self._seen : found + len(text)]
                self._seen = found + len(text)
                return came
            assert time.monotonic() < end, f"{text!r} did not come: {plain[self._seen :]!r}"
            assert self._read() or text in plain, f"it ended without {text!r}: {plain!r}"

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def wait(self) -> int:
        """Read to the end, and give the exit code."""
        end = time.monotonic() + 60
        while self._read():
            assert time.monotonic() < end, f"it did not end: {self._raw!r}"
        return self.process.wait(60)

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 1)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other side is closed
            return False
        if b"\x1b[6n" in data:  # where is the cursor? as a terminal answers it
            os.write(self._fd, b"\x1b[1;1R")
        self._raw += data
        return bool(data)


@contextmanager
def opened(*args: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

    def control() -> None:  # Ctrl-C on this terminal is for the program
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "blazen.cli", "chat", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
        preexec_fn=control,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)
        os.close(ours)


def test_an_answer_is_stopped_and_kept(echo: Echo, place: Path) -> None:
    echo(slow={"options": {"piece_delay": 0.02, "repeat": 100_000}})
    with opened() as terminal:
        terminal.until("slow (echo); /help shows what there is")
        terminal.until("›")
        terminal.type("word\r")
        terminal.until("word word word")
        terminal.type("\x03")
        terminal.until("stopped; what came is kept")
        terminal.until("›")
        terminal.type("/tokens\r")
        terminal.until("this session: 1 answers")
        terminal.until("›")
        terminal.type("\x04")
        assert terminal.wait() == 0
    (kept,) = ConversationStore().list()
    prompt, answer = kept.messages
    assert prompt.text == "word"
    assert re.fullmatch(r"word( word){2,}", answer.text)
    assert (place.parent / "data" / "history").read_text("utf-8").count("+word") == 1


def test_keys_are_not_shown_while_an_answer_is_drawn(echo: Echo) -> None:
    echo(slow={"options": {"piece_delay": 0.02, "repeat": 100_000}})
    with opened() as terminal:
        terminal.until("›")
        terminal.type("word\r")
        terminal.until("word word word")
        terminal.type("unseen\x03")
        came = terminal.until("stopped; what came is kept")
        assert "unseen" not in came
        assert "^C" not in came
        terminal.until("›")
        terminal.type("/exit\r")
        assert terminal.wait() == 0


def test_one_is_gone_on_with(echo: Echo) -> None:
    echo(parrot={})
    with opened() as terminal:
        terminal.until("›")
        terminal.type("A **bold** word\r")
        terminal.until("A bold word")
        terminal.until("›")
        terminal.type("/exit\r")
        assert terminal.wait() == 0
    with opened("--resume") as terminal:
        terminal.until("2 messages so far: A **bold** word")
        terminal.until("›")
        terminal.type("/edit\r")
        terminal.until("A **bold** word")
        terminal.type(" more\r")
        terminal.until("A bold word more")
        terminal.until("›")
        terminal.type("/nothing\r")
        terminal.until("there is no command '/nothing'")
        terminal.until("›")
        terminal.type("\x03")
        terminal.until("Ctrl-C again")
        terminal.until("›")
        terminal.type("\x03")
        assert terminal.wait() == 130
    (kept,) = ConversationStore().list()
    assert [message.text for message in kept.messages] == ["A **bold** word more"] * 2


def test_plain_answers_stay_as_they_are(echo: Echo) -> None:
    echo(parrot={})
    with opened("--plain", "--no-save") as terminal:
        terminal.until("›")
        terminal.type("A **bold** word\r")
        terminal.until("\nA **bold** word")
        terminal.until("›")
        terminal.type("\x04")
        assert terminal.wait() == 0
    assert ConversationStore().list() == []


def test_an_interrupt_ends_what_nobody_watches(echo: Echo, place: Path) -> None:
    echo(slow={"options": {"piece_delay": 0.02, "repeat": 100_000}})
    process = subprocess.Popen(
        [sys.executable, "-m", "blazen.cli", "chat", "--chat-history", "turns.jsonl"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"word\nother\n")
        process.stdin.flush()
        process.stdout.read(9)
        process.send_signal(2)
        process.stdout.read()
        process.stdin.close()
        assert process.wait(60) == 130
    turn = json.loads((place / "turns.jsonl").read_text("utf-8"))
    assert turn["finish_reason"] == "cancelled"
