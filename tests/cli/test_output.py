"""What commands write, on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import sys

import pytest

from blazen import InferenceUsage, Progress
from blazen.cli import output
from blazen.cli.failures import Failure
from blazen.cli.progress import progress


class Terminal(io.StringIO):
    """A stream that someone looks at."""

    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Have stdout be a terminal: in the test itself, as pytest sets its own before that."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


ROWS = [("chat", 1200, "a model"), ("模型", 7, None)]


def test_a_table_in_a_pipe_is_cells_apart_by_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_table(("name", "size", "about"), ROWS, right=("size",))
    assert capsys.readouterr().out == "chat\t1200\ta model\n模型\t7\t\n"


def test_a_table_on_a_terminal_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched(monkeypatch)
    output.emit_table(("name", "size", "about"), ROWS, right=("size",))
    header, first, second = terminal.getvalue().splitlines()
    assert "NAME  SIZE  ABOUT" in header
    assert first == "chat  1200  a model"
    assert second == "模型     7"


def test_texts_do_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched(monkeypatch)
    output.emit("a\x1b]0;title\x07b\tc\n")
    output.emit_table(("name",), [("two\nlines\x1b[31m",)])
    assert terminal.getvalue().startswith("a]0;titleb\tc\n")
    assert terminal.getvalue().endswith("twolines[31m\n")


def test_a_pipe_gets_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit("a\x1b[0m", newline=False)
    assert capsys.readouterr().out == "a\x1b[0m"


def test_words_for_the_user_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("loading")
    assert capsys.readouterr() == ("", "loading\n")


def test_json_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"usage": InferenceUsage(1, 2), "name": "ä\ud83d"}
    output.emit_json(value)
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text)["usage"] == {"prompt_tokens": 1, "completion_tokens": 2}
    assert "ä" in text


def test_json_is_indented_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched(monkeypatch)
    output.emit_json({"a": 1})
    assert terminal.getvalue() == '{\n  "a": 1\n}\n'


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (98_362_432, "98.4 MB"),
        (999_960, "1.0 MB"),
        (4_200_000_000_000_000, "4200.0 TB"),
    ],
)
def test_amounts(size: int | None, words: str) -> None:
    assert output.amount(size) == words


def test_no_bars_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(after=0) as report:
        report(Progress("load", 1, 2))
    assert capsys.readouterr() == ("", "")


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress(after=0) as report:
        report(Progress("download", 500_000, 1_000_000, detail="x" * 50 + "model.gguf"))
        report(Progress("convert", 3, 9, unit="files"))
        report(Progress("load", 3, unit="steps"))
        report(Progress("fetch", 3))
        report(Progress("download", 1_000_000, 1_000_000, detail="x" * 50 + "model.gguf"))
    text = stream.getvalue()
    for piece in ("download", "model.gguf", "1.0 MB of 1.0 MB", "3 of 9 files", "3 steps", "3 B"):
        assert piece in text
    assert "…" in text
    before = len(text)
    report(Progress("load", 4))  # a late one
    assert len(stream.getvalue()) == before


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(after=60) as report:
        report(Progress("load", 1, 2))
        report(Progress("load", 2, 2))
    assert stream.getvalue() == ""


def test_what_the_systems_encoding_can_not_hold_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bytes_ = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, "ascii"))
    output.emit("Grüße")
    assert bytes_.getvalue() == b"Gr??e\n"


def test_a_stream_that_is_none_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not output.is_terminal()


def test_words_for_the_user_do_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    output.say("a\x1b]0;title\x07b")
    Failure("c\x1b[2J").show()
    assert stream.getvalue().startswith("a]0;titleb\n")
    assert stream.getvalue().endswith("c[2J\n")
