"""Calls as JSON between marks: Hermes, Qwen, Phi, Granite, Llama 3, Command, and most others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.chat.calls.form import arguments_rule, several
from blazen.chat.calls.json_call import read_call
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool, ToolCall

if TYPE_CHECKING:
    from blazen.schema import Grammar


@dataclass(frozen=True)
class JsonCalls:
    """Each call is an object; it, or the list of all, stands between two marks.

    A call of a known tool is also read where an answer begins with it and the mark is left out, as
    small models do. It goes on to be read in either form, whatever the grammar writes.
    """

    open: str = "<tool_call>\n"
    close: str = "\n</tool_call>"
    listed: bool = False
    name: str = "name"
    arguments: str = "arguments"
    others: tuple[str, ...] = ()
    """Further texts that may begin a call."""
    ids: bool = False
    """Whether an id may stand behind the arguments, as Mistral writes it."""
    bare: str = "{"

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that begin calls within an answer."""
        own = self.open.strip()
        return (own, *self.others) if own else self.others

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return self.open.strip()

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read calls behind their mark; false where it is none, and then it is text."""
        known = None if mark else [tool.name for tool in tools]
        letter = yield from cursor.skip_space()
        listed = letter == "["
        cursor.at += listed
        found = False
        while True:
            letter = yield from cursor.skip_space()
            if listed and letter == "]":
                cursor.at += 1
                break
            if found and letter in (",", ";"):  # Llama sets several apart by a semicolon
                cursor.at += 1
                continue
            if letter != "{":
                break
            if not (yield from read_call(cursor, sink, known)):
                return False
            found = True
            cursor.keep()
        if found:
            yield from self._end(cursor)
        return found

    def _end(self, cursor: Cursor) -> Reading[None]:
        close = self.close.strip()
        if close:
            yield from cursor.skip_space()
            yield from cursor.starts_with(close)

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        calls = []
        end = '(", \\"id\\": \\"" [a-zA-Z0-9]{9} "\\"")? "}"' if self.ids else '"}"'
        for tool in tools:
            head = f'{{"{self.name}": {json.dumps(tool.name)}, "{self.arguments}": '
            calls.append(f"{grammar.literal(head)} {arguments_rule(grammar, tool)} {end}")
        call = grammar.rule("call", " | ".join(calls))
        before, after = grammar.literal(self.open), grammar.literal(self.close)
        if self.listed:
            return f'{before} "[" {several(grammar, call, ", ", most)} "]" {after}'
        one = grammar.rule("marked", f"{before} {call} {after}")
        return several(grammar, one, "\n" if self.trigger else "; ", most)

    def write(self, calls: Sequence[ToolCall]) -> str:
        """Write calls as the model does, for a template that does not."""
        written = [
            f'{{"{self.name}": {json.dumps(call.name, ensure_ascii=False)}, '
            f'"{self.arguments}": {call.arguments or "{}"}}}'
            for call in calls
        ]
        if self.listed:
            return f"{self.open}[{', '.join(written)}]{self.close}"
        return "\n".join(f"{self.open}{call}{self.close}" for call in written)


HERMES = JsonCalls()
"""Hermes, Qwen2.5, Qwen3, Granite 4; and what a model without a form of its own is told to use."""

PHI = JsonCalls("<|tool_call|>", "<|/tool_call|>", listed=True)
GRANITE = JsonCalls("<|tool_call|>", "", listed=True, others=("<tool_call>",))
LLAMA = JsonCalls("", "", arguments="parameters", others=("<|python_tag|>",))
COMMAND = JsonCalls(
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    listed=True,
    name="tool_name",
    arguments="parameters",
)
