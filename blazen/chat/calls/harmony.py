"""gpt-oss: an answer is several messages, each on a channel; calls are messages to a function."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blazen.chat.calls.form import arguments_rule
from blazen.chat.calls.free_text import text_before
from blazen.chat.cursor import Cursor, Marks, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

CALL = "<|channel|>commentary to=functions."
_ENDS = Marks(("<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"))
_HEADS = ("<|start|>", "<|channel|>")
_MESSAGE = "<|message|>"
_TO = re.compile(r"to=(?:functions\.)?([\w.-]+)")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_LONGEST_HEAD = 512


def harmony_script(cursor: Cursor, sink: Sink) -> Reading[None]:
    """Read an answer: analysis is reasoning, a message to a function is a call, else content."""
    while True:
        letter = yield from cursor.skip_space()
        if not letter:
            return
        cursor.keep()
        if (yield from _skip_end(cursor)):
            cursor.forget()
            continue
        # The prompt has written the beginning of the first head already.
        headed = False
        for mark in (*_HEADS, "to="):
            headed = headed or (yield from cursor.comes(mark))
        head = (yield from cursor.until(_MESSAGE, limit=_LONGEST_HEAD)) if headed else None
        if head is None:
            cursor.go_back()
            sink.content(cursor.text[cursor.at])  # whatever it is, it is no head
            cursor.at += 1
            yield from _message(cursor, sink, "final", None)
            continue
        cursor.forget()
        channel, to = _CHANNEL.search(head), _TO.search(head)
        yield from _message(cursor, sink, channel[1] if channel else "final", to and to[1])


def _skip_end(cursor: Cursor) -> Reading[bool]:
    for mark in _ENDS.marks[:3]:
        if (yield from cursor.starts_with(mark)):
            return True
    return False


def _message(cursor: Cursor, sink: Sink, channel: str, to: str | None) -> Reading[None]:
    if to:
        sink.call(to)
        put = sink.arguments
    else:
        put = sink.reasoning if channel == "analysis" else sink.content
    while True:
        text, at = cursor.text, cursor.at
        found = _ENDS.find(text, at)
        cursor.at = _ENDS.partial(text, at) if found is None else found.start()
        put(text[at : cursor.at])
        if found is not None:
            if found[0] not in _HEADS:
                cursor.at = found.end()
            if to:
                sink.end_call()
            return
        if not (yield from cursor.more()):
            put(cursor.rest())
            return


class HarmonyCalls:
    """How a grammar writes such calls; `harmony_script` reads them."""

    marks: tuple[str, ...] = (CALL,)
    bare = ""

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return CALL

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read nothing: whole answers are read otherwise."""
        yield from ()
        return False

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule of a call; gpt-oss makes one at a time."""
        calls = [
            f"{grammar.literal(f'{CALL}{tool.name} <|constrain|>json{_MESSAGE}')} "
            f"{arguments_rule(grammar, tool)}"
            for tool in tools
        ]
        return grammar.rule("call", " | ".join(calls))


def harmony_answer(grammar: Grammar, answer: str) -> str:
    """Write the rule of a final message."""
    return f"{grammar.literal(f'<|channel|>final{_MESSAGE}')} {answer}"


def harmony_reasoning(grammar: Grammar) -> str:
    """Write the rule of the analysis that may stand before a message."""
    head = grammar.literal(f"<|channel|>analysis{_MESSAGE}")
    end = text_before(grammar, "<|end|>")
    return f"({head} {end} {grammar.literal('<|start|>assistant')})?"
