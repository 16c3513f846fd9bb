"""Mistral's calls: a list behind ``[TOOL_CALLS]``, or in newer models a name and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.chat.calls.form import arguments_rule, several
from blazen.chat.calls.json_calls import JsonCalls
from blazen.chat.calls.json_text import copy_value
from blazen.chat.calls.names import read_name
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

_MARK = "[TOOL_CALLS]"
_LIST = JsonCalls(_MARK, "", listed=True)


@dataclass(frozen=True)
class MistralCalls:
    """Both of the forms are read; ``arguments`` is what the newer one writes before them."""

    arguments: str | None = None
    call_id: bool = False
    bare: str = ""
    marks: tuple[str, ...] = (_MARK,)

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return _MARK

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read calls behind their mark; false where it is none, and then it is text."""
        if (yield from cursor.skip_space()) in ("[", "{"):
            return (yield from _LIST.read(mark, cursor, sink, tools))
        name = yield from read_name(cursor, ("[", "{"))
        if name is None:
            return False
        if (yield from cursor.starts_with("[CALL_ID]")):
            # The id is dropped: one has to be given with the name, and it is not known before.
            if (yield from cursor.until("[ARGS]", limit=64)) is None:
                return False
        else:
            yield from cursor.starts_with("[ARGS]")
        if (yield from cursor.skip_space()) != "{":
            return False
        cursor.forget()
        sink.call(name)
        if (yield from copy_value(cursor, sink.arguments)):
            sink.end_call()
        return True

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        if self.arguments is None:
            calls = JsonCalls("", "", listed=True, ids=True).rule(grammar, tools, most=most)
            return f'{grammar.literal(_MARK)} " "? {calls}'
        call_id = ' "[CALL_ID]" [a-zA-Z0-9]{9}' if self.call_id else ""
        written = [
            f"{grammar.literal(_MARK + tool.name)}{call_id} {grammar.literal(self.arguments)} "
            f"{arguments_rule(grammar, tool)}"
            for tool in tools
        ]
        return several(grammar, grammar.rule("call", " | ".join(written)), "", most)


def mistral_calls(source: str) -> MistralCalls | None:
    """Give the form that a template's text speaks of."""
    if _MARK not in source:
        return None
    return MistralCalls("[ARGS]" if "[ARGS]" in source else None, "[CALL_ID]" in source)
