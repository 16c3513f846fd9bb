"""DeepSeek's calls, with their marks of wide bars: R1 and V3 fence the JSON, V3.1 does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.chat.calls.form import arguments_rule, several
from blazen.chat.calls.json_text import copy_value
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

_ALL, _ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_ONE, _ONE_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_APART = "<｜tool▁sep｜>"
_LONGEST = 256


@dataclass(frozen=True)
class DeepSeekCalls:
    """Both forms are read; ``fenced`` says which one is written."""

    fenced: bool = True
    bare: str = ""
    marks: tuple[str, ...] = (_ALL, _ONE)

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return _ALL

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read calls behind their mark; false where it is none, and then it is text."""
        found, opened = False, mark == _ONE
        while True:
            if not opened:
                yield from cursor.skip_space()
                if (yield from cursor.starts_with(_ALL_END)):
                    return found
                if not (yield from cursor.starts_with(_ONE)):
                    return found
            if not (yield from self._call(cursor, sink)):
                return False
            found, opened = True, False
            cursor.keep()

    def _call(self, cursor: Cursor, sink: Sink) -> Reading[bool]:
        head = yield from cursor.until(_APART, limit=_LONGEST)
        if head is None:
            return False
        name, fenced = head.strip(), False
        if (yield from cursor.skip_space()) != "{":
            # What stood before is the kind of the call, "function"; the name has its own line.
            line = yield from cursor.until("\n", limit=_LONGEST)
            yield from cursor.skip_space()
            fenced = yield from cursor.starts_with("```json")
            if line is None or (yield from cursor.skip_space()) != "{":
                return False
            name = line.strip()
        if not name:
            return False
        cursor.forget()
        sink.call(name)
        if (yield from copy_value(cursor, sink.arguments)):
            sink.end_call()
            yield from cursor.skip_space()
            if fenced and (yield from cursor.starts_with("```")):
                yield from cursor.skip_space()
            yield from cursor.starts_with(_ONE_END)
        return True

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        calls = []
        for tool in tools:
            if self.fenced:
                head, tail = f"{_ONE}function{_APART}{tool.name}\n```json\n", f"\n```{_ONE_END}"
            else:
                head, tail = f"{_ONE}{tool.name}{_APART}", _ONE_END
            calls.append(
                f"{grammar.literal(head)} {arguments_rule(grammar, tool)} {grammar.literal(tail)}"
            )
        call = grammar.rule("call", " | ".join(calls))
        all_of_them = several(grammar, call, "\n" if self.fenced else "", most)
        return f"{grammar.literal(_ALL)} {all_of_them} {grammar.literal(_ALL_END)}"


def deepseek_calls(source: str) -> DeepSeekCalls | None:
    """Give the form that a template's text speaks of."""
    return DeepSeekCalls(fenced="```json" in source) if _ONE in source else None
