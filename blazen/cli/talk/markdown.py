"""An answer shown as Markdown while it comes: what is whole stands, its end is drawn anew."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.text import Text

from blazen.cli.output import safe

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_PACE = 0.08
"""Seconds between two drawings: an engine may write faster than a terminal."""


def split_whole(text: str) -> tuple[str, str]:
    """Part a text into the paragraphs that are whole, and the end that may still change.

    A code block is never cut, and neither is a list: its items would lose their numbers.
    """
    cut = place = 0
    fence = ""
    blank = listed = False
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        bare = line.strip()
        in_list = bool(re.match(r"([-*+]|\d+[.)])\s", bare)) or (listed and line[:1].isspace())
        if blank and bare and not fence and not (listed and in_list):
            cut, listed = place, False
        if found and not fence:
            fence = found[1]
        elif fence and bare.startswith(fence) and not bare.strip(fence[0]):
            fence = ""
        if bare:
            listed = listed or in_list
        blank = not bare
        place += len(line)
    return text[:cut], text[cut:]


class _Tail:
    """The end of a text that fits the terminal's height, so that it can be drawn over."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._shown, options, pad=False)
        for line in lines[-max(1, console.height - 2) :]:
            yield from line
            yield Segment.line()


@contextmanager
def unechoed() -> Iterator[None]:
    """Have the terminal not show keys: a ``^C`` would move what is to be drawn over."""
    try:
        import termios
    except ModuleNotFoundError:  # Windows
        yield
        return
    try:
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
    except (AttributeError, OSError, ValueError, termios.error):  # nobody types here
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


class MarkdownPieces:
    """Shows an answer as Markdown on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._text = ""
        self._reasoning = ""
        self._live: Live | None = None
        self._quiet = ExitStack()
        self._drawn = 0.0
        self._begun = time.monotonic()

    def content(self, text: str) -> None:
        """Show a piece of the answer."""
        self._end_reasoning()
        self._text += safe(text)
        whole, rest = split_whole(self._text)
        if whole:
            self._stop()
            self._console.print(Markdown(whole))
            self._console.print()
            self._text = rest
        self._draw(Markdown(self._text))

    def reasoning(self, text: str) -> None:
        """Show the end of what the model reasons; it goes when the answer comes."""
        self._reasoning += safe(text)
        self._draw(Text(self._reasoning, style="dim"))

    def end(self) -> None:
        """Let the answer stand as it is."""
        self._end_reasoning()
        self._stop()
        if self._text.strip():
            self._console.print(Markdown(self._text))
        self._text = ""

    def _end_reasoning(self) -> None:
        if self._reasoning:
            self._stop()
            took = time.monotonic() - self._begun
            self._console.print(Text(f"(reasoned for {took:.0f} s)", style="dim"))
            self._reasoning = ""

    def _draw(self, shown: Any) -> None:
        if self._live is None:
            self._quiet.enter_context(unechoed())
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        now = time.monotonic()
        if now - self._drawn >= _PACE:
            self._drawn = now
            self._live.update(_Tail(shown), refresh=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._quiet.close()
