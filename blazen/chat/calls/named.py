"""Calls that are a name and its arguments in JSON, each behind a mark: Functionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.chat.calls.form import arguments_rule, several
from blazen.chat.calls.json_text import copy_value
from blazen.chat.calls.names import read_name
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar


@dataclass(frozen=True)
class NamedCalls:
    """What stands before the name, between it and its arguments, and behind them."""

    open: str
    middle: str
    close: str
    bare: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """The text that begins a call."""
        return (self.trigger,)

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return self.open.strip()

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read a call behind its mark; false where it is none, and then it is text."""
        middle, close = self.middle.strip(), self.close.strip()
        name = yield from read_name(cursor, (middle or "{",))
        if name is None:
            return False
        yield from cursor.starts_with(middle)
        if (yield from cursor.skip_space()) != "{":
            return False
        cursor.forget()
        sink.call(name)
        if (yield from copy_value(cursor, sink.arguments)):
            sink.end_call()
            if close:
                yield from cursor.skip_space()
                yield from cursor.starts_with(close)
        return True

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        calls = [
            f"{grammar.literal(self.open + tool.name + self.middle)} "
            f"{arguments_rule(grammar, tool)} {grammar.literal(self.close)}"
            for tool in tools
        ]
        return several(grammar, grammar.rule("call", " | ".join(calls)), "", most)
