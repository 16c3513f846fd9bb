"""What the user types: a line editor on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from blazen.cli.output import say

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

QUOTES = '"""'


class Reader(Protocol):
    """Gives one line after another."""

    async def line(self, *, goes_on: bool = False, default: str = "") -> str:
        """Give the next line, without its end; `EOFError` says that none comes any more.

        ``goes_on`` says that it belongs to the one before; ``default`` is there to be edited.
        """
        ...


async def entry(reader: Reader, *, default: str = "") -> str:
    """Read one entry: a line, lines that end in a backslash, or all between triple quotes."""
    text = await reader.line(default=default)
    opening = text.strip()
    if opening.startswith(QUOTES):
        rest = opening[len(QUOTES) :]
        if rest.endswith(QUOTES):
            return rest[: -len(QUOTES)].strip()
        lines = [rest] if rest.strip() else []
        while not (line := await _more(reader, QUOTES)).rstrip().endswith(QUOTES):
            lines.append(line)
        last = line.rstrip()[: -len(QUOTES)]
        return "\n".join([*lines, *([last] if last.strip() else [])])
    while text.endswith("\\"):
        text = text[:-1] + "\n" + await _more(reader, "")
    return text


async def _more(reader: Reader, end: str) -> str:
    """Read a line that goes on; where no more comes, what ends the entry: nothing is lost."""
    try:
        return await reader.line(goes_on=True)
    except EOFError:
        return end


class Lines:
    """Plain lines of standard input, as another program or a file writes them."""

    async def line(self, *, goes_on: bool = False, default: str = "") -> str:
        """Give the next line; there is nothing to edit."""
        with _interrupts_raise():
            # Bytes, as the system's own encoding may be another one than other programs write.
            data = b"" if sys.stdin is None else sys.stdin.buffer.readline()
        if not data:
            raise EOFError
        return data.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


class Editor:
    """A line editor with history and completion; Alt-Enter begins another line."""

    def __init__(self, commands: Iterable[tuple[str, str]], history: Path | None) -> None:
        self._session = _prompt_session(dict(commands), history)

    async def line(self, *, goes_on: bool = False, default: str = "") -> str:
        """Have the user write a line, or several in one."""
        text: str = await self._session.prompt_async("… " if goes_on else "› ", default=default)
        return text


def _prompt_session(commands: dict[str, str], history: Path | None) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    kept: History = InMemoryHistory()
    if history is not None and _writable(history):
        kept = FileHistory(str(history))
    return PromptSession(
        history=kept,
        key_bindings=keys,
        completer=_completer(commands),
        complete_while_typing=True,
        prompt_continuation="… ",
        enable_open_in_editor=True,
        reserve_space_for_menu=4,
    )


def _writable(history: Path) -> bool:
    """Make the file before it is written to, for its owner alone: what is typed may be private."""
    try:
        history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(history, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:  # a home that is read-only is no reason not to talk
        say(f"what you type is not kept for another time: {error.strerror or error} ({history})")
        return False
    return True


def _completer(commands: dict[str, str]) -> Any:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document

    paths = PathCompleter(expanduser=True)

    class Commands(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterator[Completion]:
            text = document.text_before_cursor
            name, space, rest = text.partition(" ")
            if not text.startswith("/") or "\n" in text:
                return
            if not space:
                for command, about in commands.items():
                    if command.startswith(name):
                        yield Completion(command, -len(name), display_meta=about)
            elif name in ("/image", "/audio", "/file", "/save"):
                yield from paths.get_completions(Document(rest), complete_event)

    return Commands()


@contextmanager
def _interrupts_raise() -> Iterator[None]:
    """Have Ctrl-C end a read that blocks: the loop's own handling waits until it is over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
