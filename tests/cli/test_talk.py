"""What a chat on a terminal is made of: the line editor, the Markdown, and the talk itself."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from blazen.assistant import Conversation
from blazen.catalog import Catalog
from blazen.cli.assistance import Assistance
from blazen.cli.engine import Engine
from blazen.cli.pieces import Pieces
from blazen.cli.talk import markdown
from blazen.cli.talk.markdown import MarkdownPieces, split_whole
from blazen.cli.talk.reader import Editor, entry
from blazen.cli.talk.repl import Repl
from blazen.cli.talk.session import Session
from blazen.cli.talk.slash import SLASHES
from blazen.errors import ContextLengthError, LoadError
from tests.cli.conftest import Echo

COMMANDS = [(name, slash.help) for name, slash in SLASHES.items()]


def typed(keys: str, history: Path | None = None, default: str = "") -> str:
    """What the editor reads where someone presses these keys."""

    async def read() -> str:
        return await entry(Editor(COMMANDS, history), default=default)

    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        return asyncio.run(read())


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("hello\r", "hello"),
        ("one\x1b\rtwo\r", "one\ntwo"),  # Alt-Enter
        ("one\\\rtwo\r", "one\ntwo"),
        ('"""\rone\rtwo\r"""\r', "one\ntwo"),
        ("\x1b[200~pasted\nlines\x1b[201~\r", "pasted\nlines"),
    ],
)
def test_the_editor_reads_what_is_typed(keys: str, text: str) -> None:
    assert typed(keys) == text


def test_the_editor_begins_with_what_is_to_be_edited() -> None:
    assert typed("!\r", default="hello") == "hello!"


def test_the_editor_says_when_it_ends() -> None:
    with pytest.raises(EOFError):
        typed("\x04")
    with pytest.raises(KeyboardInterrupt):
        typed("abc\x03")


def test_what_was_typed_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    history = tmp_path / "data" / "history"
    old = os.umask(0)
    try:
        assert typed("first\r", history) == "first"
    finally:
        os.umask(old)
    assert typed("\x1b[A\r", history) == "first"  # the up arrow
    if sys.platform != "win32":
        assert stat.S_IMODE(history.stat().st_mode) == 0o600


def completions(text: str) -> list[str]:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from blazen.cli.talk.reader import _completer

    found = _completer(dict(COMMANDS)).get_completions(Document(text), CompleteEvent())
    return [completion.text for completion in found]


def test_commands_and_paths_are_completed(tmp_path: Path) -> None:
    (tmp_path / "picture.png").touch()
    assert completions("/mode") == ["/model", "/models"]
    assert completions(f"/image {tmp_path}/pic") == ["ture.png"]
    assert completions("/set te") == []
    assert completions("hello /mo") == []


@pytest.mark.parametrize(
    ("whole", "rest"),
    [
        ("", "one"),
        ("", "one\n\n"),
        ("one\n\n", "two"),
        ("one\n\ntwo\n\n", "three\n"),
        ("", "```\none\n\ntwo"),
        ("```\none\n\ntwo\n```\n\n", "after"),
        ("", "~~~~\n~~~\n\nx"),
        ("", "1. one\n\n2. two\n\n   more\n\n3. three"),
        ("- one\n\n- two\n\n", "after"),
        ("one\n\n", "- two\n\n- three"),
    ],
)
def test_paragraphs_are_parted_where_nothing_can_change(whole: str, rest: str) -> None:
    assert split_whole(whole + rest) == (whole, rest)


def shown(pieces: list[str], monkeypatch: pytest.MonkeyPatch, **settings: object) -> str:
    """What stands on a terminal that understands the cursor's movements."""
    monkeypatch.setattr(markdown, "_PACE", 0)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=40, height=10, **settings)  # type: ignore[arg-type]
    view = MarkdownPieces(console)
    for piece in pieces:
        view.content(piece)
    view.end()
    return stream.getvalue()


def test_markdown_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(["A **bo", "ld** word.\n\n", "1. one\n2. two\n\n", "`end`"], monkeypatch)
    assert "\x1b[1mbold\x1b[0m" in text
    assert "**bold**" not in text
    assert " 2 " in text


def test_long_answers_stand_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number}\n\n" for number in range(50)]
    text = shown(lines, monkeypatch, color_system=None)
    for number in range(50):
        assert f"line {number} " in text
    code = shown(["```\n", *(f"row {number}\n" for number in range(50)), "```\n"], monkeypatch)
    final = code[code.rindex("row 0") :]  # what is drawn last is drawn whole
    assert all(f"row {number}" in final for number in range(50))


def test_an_answer_does_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b]0;" not in shown(["a\x1b]0;title\x07b"], monkeypatch)


def test_reasoning_goes_when_the_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "_PACE", 0)
    stream = io.StringIO()
    view = MarkdownPieces(Console(file=stream, force_terminal=True, width=40, height=10))
    view.reasoning("Let me ")
    view.reasoning("see")
    assert "Let me see" in stream.getvalue()
    view.content("Yes.")
    view.end()
    final = stream.getvalue()
    assert "(reasoned for 0 s)" in final
    assert "see" not in final[final.index("(reasoned") :]
    assert "Yes." in final


class Script:
    """Types one line after another; a function is called for its line, an error raised."""

    def __init__(self, *lines: str | Callable[[], str] | type[BaseException]) -> None:
        self.lines = list(lines)
        self.defaults: list[str] = []

    async def line(self, *, goes_on: bool = False, default: str = "") -> str:
        self.defaults.append(default)
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, type):
            raise line
        return line if isinstance(line, str) else line()


@pytest.fixture
def perform(echo: Echo, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Gives ``perform(script)``: a talk on a terminal, and what came on stdout and stderr."""
    config = echo(parrot={}, fails={"options": {"fail_at": 0}})

    def run(script: Script) -> tuple[str, str]:
        conversation = Conversation(model="parrot")
        session = Session(Catalog.read(config), Engine(), Assistance(), None, conversation, {})

        async def talk() -> None:
            try:
                await Repl(session, script, Pieces, interactive=True, as_json=False).run()
            finally:
                await session.close()

        asyncio.run(talk())
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


def test_errors_do_not_end_a_talk(perform: Callable[..., tuple[str, str]]) -> None:
    out, err = perform(Script("/nothing", "/model fails", "a", "/model parrot", "/retry"))
    assert "blazen: there is no command '/nothing'" in err
    assert "asked to fail at piece 0" in err
    assert out == "a\n"


def test_a_failed_prompt_may_be_edited(perform: Callable[..., tuple[str, str]]) -> None:
    script = Script("/model fails", "a", "/model parrot", "/edit", "b")
    assert perform(script)[0] == "b\n"
    assert script.defaults[-2:] == ["a", ""]


def test_tracebacks_where_they_are_wanted(
    perform: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLAZEN_DEBUG", "1")
    assert "Traceback" in perform(Script("/nothing"))[1]


def test_an_interrupt_while_typing_leaves_the_second_time(
    perform: Callable[..., tuple[str, str]],
) -> None:
    out, err = perform(Script("a", KeyboardInterrupt, "b"))
    assert out == "a\nb\n"
    assert "Ctrl-C again, Ctrl-D or /exit leaves" in err
    with pytest.raises(KeyboardInterrupt):
        perform(Script(KeyboardInterrupt, KeyboardInterrupt))


class StopsAtThird(Pieces):
    """Presses Ctrl-C when the third piece comes."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def content(self, text: str) -> None:
        super().content(text)
        self._count += 1
        if self._count == 3:
            signal.raise_signal(signal.SIGINT)


def test_a_stopped_answer_is_kept_and_the_talk_goes_on(
    echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    config = echo(slow={"options": {"piece_delay": 0.01, "repeat": 10_000}})
    session = Session(Catalog.read(config), Engine(), Assistance(), None, Conversation(), {})
    script = Script("word", "/tokens")

    async def talk() -> None:
        await Repl(session, script, StopsAtThird, interactive=True, as_json=False).run()
        await session.close()

    asyncio.run(talk())
    captured = capsys.readouterr()
    assert captured.out.startswith("word word word")
    assert "stopped; what came is kept" in captured.err
    assert "this session: 1 answers" in captured.err
    answer = session.conversation.messages[-1]
    assert answer.text + "\n" == captured.out


def test_a_prompt_that_does_not_fit_says_what_helps(
    perform: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_long(self: Session, text: str, shown: object) -> None:
        raise ContextLengthError("the prompt is too long", tokens=9, limit=8)

    monkeypatch.setattr(Session, "ask", too_long)
    _, err = perform(Script("a"))
    assert "the prompt is too long (/undo takes the last turn back, /clear begins anew)" in err


def test_a_terminal_gets_an_editor_and_markdown(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blazen.cli.commands import chat
    from blazen.cli.pieces import Silent
    from blazen.cli.talk.reader import Lines

    assert isinstance(chat._reader(interactive=False, history=True), Lines)
    assert chat._shown(plain=False, as_json=False) is Pieces
    assert chat._shown(plain=False, as_json=True) is Silent
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        assert isinstance(chat._reader(interactive=True, history=True), Editor)
    assert (place.parent / "data" / "history").exists()
    assert chat._shown(plain=False, as_json=False) is MarkdownPieces
    assert chat._shown(plain=True, as_json=False) is Pieces


@pytest.mark.parametrize("interactive", [True, False])
def test_what_is_stopped_before_its_first_word_leaves_nothing(
    echo: Echo, capsys: pytest.CaptureFixture[str], interactive: bool
) -> None:
    config = echo(slow={"options": {"load_delay": 2}})
    session = Session(Catalog.read(config), Engine(), Assistance(), None, Conversation(), {})

    def pressed() -> Pieces:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        return Pieces()

    async def talk() -> str | None:
        repl = Repl(session, Script("word"), pressed, interactive=interactive, as_json=False)
        try:
            await repl.run()
        finally:
            assert session.conversation.messages == ()
        return repl.failed

    if interactive:
        assert asyncio.run(talk()) == "word"
        assert "stopped; nothing came; /retry asks again" in capsys.readouterr().err
    else:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(talk())


def test_a_model_that_does_not_load_leaves_the_one_before(
    perform: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Session.load

    async def load(self: Session) -> None:
        if self.listing.name == "fails":
            raise LoadError("its weights are broken")
        await real(self)

    monkeypatch.setattr(Session, "load", load)
    out, err = perform(Script("/model fails", "a", "/model"))
    assert "its weights are broken" in err
    assert out == "a\n"
    assert "parrot (echo:echo)" in err


def test_an_interrupt_stops_a_command_and_not_the_talk(
    perform: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(self: Session) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(Session, "load", load)
    out, err = perform(Script("/model fails", "a"))
    assert "stopped\n" in err
    assert out == "a\n"


def test_a_history_that_can_not_be_kept_does_not_end_a_talk(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.parent / "data").write_text("a file is where the folder should be")
    assert typed("hello\r", place.parent / "data" / "history") == "hello"
    assert "what you type is not kept for another time: " in capsys.readouterr().err
