"""Reading an answer: reasoning first, then text with tool calls among it."""

from __future__ import annotations

from collections.abc import Sequence

from blazen.chat.calls.form import CallForm
from blazen.chat.cursor import Cursor, Marks, Reading
from blazen.chat.reader import Script
from blazen.chat.reasoning import THINK, ReasoningMarks
from blazen.chat.sink import Sink
from blazen.types.chat import Tool


def answer_script(
    *,
    marks: ReasoningMarks | None = None,
    reasoning: bool = False,
    form: CallForm | None = None,
    tools: Sequence[Tool] = (),
    dropped: tuple[str, ...] = (),
) -> Script:
    """Give the script of most families; with ``reasoning`` the answer begins within it.

    ``dropped`` are marks that are no part of the text that they stand in.

    Reasoning is looked for where an answer begins and after a call; in the midst of a text its
    marks are text. Without marks of its own a model may still use ``<think>``.
    """

    def script(cursor: Cursor, sink: Sink) -> Reading[None]:
        reader = _Answer(cursor, sink, marks or THINK, form, tools, dropped)
        return reader.read(reasoning=reasoning)

    return script


class _Answer:
    def __init__(
        self,
        cursor: Cursor,
        sink: Sink,
        marks: ReasoningMarks,
        form: CallForm | None,
        tools: Sequence[Tool],
        dropped: tuple[str, ...],
    ) -> None:
        self._cursor = cursor
        self._sink = sink
        self._marks = marks
        self._form = form
        self._tools = tools
        self._dropped = dropped
        watched = (*(form.marks if form is not None else ()), *dropped)
        self._watched = Marks(watched) if watched else None

    def read(self, *, reasoning: bool) -> Reading[None]:
        cursor, form = self._cursor, self._form
        if reasoning:
            yield from self._reasoning()
        fresh = not reasoning  # white space is the answer's own only where nothing stood before
        while True:
            if fresh:
                cursor.keep()
            first = yield from cursor.skip_space()
            if first and (yield from cursor.starts_with(self._marks.open)):
                cursor.forget()
                yield from self._reasoning()
                fresh = False
                continue
            if not fresh:
                cursor.keep()
            calls = self._sink.calls
            if (
                form is not None
                and first
                and first in form.bare
                and (yield from form.read("", cursor, self._sink, self._tools))
            ):
                cursor.forget()
                fresh = False
                continue
            cursor.go_back()
            if self._sink.calls == calls and not (yield from self._text()):
                return
            fresh = False

    def _reasoning(self) -> Reading[None]:
        cursor, close = self._cursor, Marks((self._marks.close,))
        yield from cursor.skip_space()
        while True:
            text, at = cursor.text, cursor.at
            found = close.find(text, at)
            place = close.partial(text, at) if found is None else found.start()
            cursor.at = _space_before(text, place, at)
            self._sink.reasoning(text[at : cursor.at])
            if found is not None:
                cursor.at = found.end()
                return
            if not (yield from cursor.more()):
                self._sink.reasoning(cursor.rest())
                return

    def _text(self) -> Reading[bool]:
        """Read text up to the end of a call; false at the answer's end."""
        cursor, sink = self._cursor, self._sink
        if self._watched is None:
            while True:
                sink.content(cursor.rest())
                if not (yield from cursor.more()):
                    return False
        while True:
            text, at = cursor.text, cursor.at
            found = self._watched.find(text, at)
            place = self._watched.partial(text, at) if found is None else found.start()
            # White space before a call is a part of the call, so that at the end is held back.
            cursor.at = _space_before(text, place, at)
            sink.content(text[at : cursor.at])
            if found is None:
                if not (yield from cursor.more()):
                    sink.content(cursor.rest())
                    return False
                continue
            if found[0] in self._dropped or self._form is None:
                cursor.at = found.end()
                continue
            calls = sink.calls
            looks = text[cursor.at : found.end()]
            cursor.keep()
            cursor.at = found.end()
            if (yield from self._form.read(found[0], cursor, sink, self._tools)):
                cursor.forget()
                return True
            cursor.go_back()
            if sink.calls == calls:
                # It only looked like a call: its mark is text, and what follows is read anew.
                sink.content(looks)
                cursor.at += len(looks)


_MOST_SPACE = 64


def _space_before(text: str, end: int, start: int) -> int:
    """Where the white space before a place begins, if it is no longer than a mark's may be.

    A model that is stuck writes line breaks for ever: they are neither held back nor read again.
    """
    start = max(start, end - _MOST_SPACE)
    return start + len(text[start:end].rstrip())
