"""Text that arrives in pieces, for readers written as generators."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Reading: TypeAlias = Generator[None, None, T]
"""A reader that yields whenever it needs more text, and returns what it read."""


class Cursor:
    """A place in a text that is still growing; what lies behind it is forgotten in time."""

    __slots__ = ("_kept", "at", "ended", "text")

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self._kept: int | None = None

    def add(self, piece: str) -> None:
        """Let the text grow."""
        start = self.at if self._kept is None else self._kept
        self.text = self.text[start:] + piece
        self.at -= start
        if self._kept is not None:
            self._kept = 0

    def keep(self) -> None:
        """Remember this place, to come back to it."""
        self._kept = self.at

    def go_back(self) -> None:
        """Return to the place that was remembered."""
        assert self._kept is not None
        self.at = self._kept
        self._kept = None

    def forget(self) -> None:
        """Give up the place that was remembered."""
        self._kept = None

    def rest(self) -> str:
        """Take all text that has come."""
        rest = self.text[self.at :]
        self.at = len(self.text)
        return rest

    def more(self) -> Reading[bool]:
        """Wait for more text; false where there will be none."""
        if self.ended:
            return False
        size = len(self.text) - self.at
        yield
        while len(self.text) - self.at == size and not self.ended:
            yield
        return len(self.text) - self.at > size

    def skip_space(self) -> Reading[str]:
        """Go on to what is no white space, and give its first character; empty at the end."""
        while True:
            found = _NO_SPACE.search(self.text, self.at)
            if found is not None:
                self.at = found.start()
                return found[0]
            self.at = len(self.text)
            if not (yield from self.more()):
                return ""

    def comes(self, mark: str) -> Reading[bool]:
        """Whether this text comes next."""
        while not self.text.startswith(mark, self.at):
            rest = self.text[self.at : self.at + len(mark)]
            if not mark.startswith(rest) or not (yield from self.more()):
                return False
        return True

    def starts_with(self, mark: str) -> Reading[bool]:
        """Whether this text comes next; if so, go on behind it."""
        found = yield from self.comes(mark)
        if found:
            self.at += len(mark)
        return found

    def until(self, mark: str, *, limit: int) -> Reading[str | None]:
        """Give the text up to a mark and go on behind it; ``None`` where none comes in time."""
        while True:
            found = self.text.find(mark, self.at, self.at + limit + len(mark))
            if found >= 0:
                read = self.text[self.at : found]
                self.at = found + len(mark)
                return read
            if len(self.text) - self.at >= limit + len(mark) or not (yield from self.more()):
                return None


_NO_SPACE = re.compile(r"\S")


class Marks:
    """Texts to look for in a text that grows."""

    def __init__(self, marks: tuple[str, ...]) -> None:
        self.marks = marks
        self._whole = re.compile("|".join(map(re.escape, marks)))

    def find(self, text: str, start: int = 0) -> re.Match[str] | None:
        """Find the first of them."""
        return self._whole.search(text, start)

    def partial(self, text: str, start: int = 0) -> int:
        """Where an end of the text begins that may become one of them; the text's end if none.

        Only as much is looked at as a mark has characters, however long the text is.
        """
        first = size = len(text)
        for mark in self.marks:
            at = text.find(mark[0], max(start, size - len(mark) + 1))
            while 0 <= at < first:
                if mark.startswith(text[at:]):
                    first = at
                    break
                at = text.find(mark[0], at + 1)
        return first
