"""Calls as tags, a tag for each argument: Qwen3-Coder, MiniMax and those that learned from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blazen.chat.calls.form import several
from blazen.chat.calls.tagged_value import copy_tagged, definitions_of, tagged_rule
from blazen.chat.calls.values import checked_parameters, parameters_of
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

_LONGEST = 256


@dataclass(frozen=True)
class TaggedCalls:
    """What stands between a parameter's tags is its value as it is, without quotes.

    So a tool's schema says whether ``12`` is a number or a text. Arguments are handed out as JSON.
    """

    open: str = "<tool_call>"
    close: str = "</tool_call>"
    function: tuple[str, str] = ("<function=", ">")
    function_end: str = "</function>"
    parameter: tuple[str, str] = ("<parameter=", ">")
    parameter_end: str = "</parameter>"
    bare: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that begin calls; the outer tag is often forgotten."""
        return (self.open, self.function[0])

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return self.open

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read calls behind their mark; false where it is none, and then it is text."""
        found, opened = False, mark == self.function[0]
        while True:
            if not opened:
                yield from cursor.skip_space()
                if found and (yield from cursor.starts_with(self.close)):
                    return True
                if not (yield from cursor.starts_with(self.function[0])):
                    return found
            name = yield from cursor.until(self.function[1], limit=_LONGEST)
            if not name or not name.strip() or "\n" in name:
                return False
            cursor.forget()
            sink.call(name.strip())
            if not (yield from self._arguments(cursor, sink, parameters_of(name.strip(), tools))):
                return True
            found, opened = True, False
            cursor.keep()

    def _arguments(self, cursor: Cursor, sink: Sink, schemas: dict[str, Any]) -> Reading[bool]:
        before = "{"
        while True:
            yield from cursor.skip_space()
            if (yield from cursor.starts_with(self.parameter[0])):
                name = yield from cursor.until(self.parameter[1], limit=_LONGEST)
                if name is None:
                    return False
                key = name.strip()
                sink.arguments(f"{before}{json.dumps(key, ensure_ascii=False)}: ")
                if not (
                    yield from copy_tagged(
                        cursor, sink, self.parameter_end, schemas.get(key), lines=True
                    )
                ):
                    return False
                before = ", "
                continue
            ended = yield from cursor.starts_with(self.function_end)
            if not ended and not (yield from cursor.skip_space()):
                return False  # cut; what follows may have been another argument
            sink.arguments("{}" if before == "{" else "}")
            sink.end_call()
            return True

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        calls = [self._call_rule(grammar, tool) for tool in tools]
        before, after = grammar.literal(f"{self.open}\n"), grammar.literal(f"\n{self.close}")
        one = grammar.rule("call", f"{before} ({' | '.join(calls)}) {after}")
        return several(grammar, one, "\n", most)

    def _call_rule(self, grammar: Grammar, tool: Tool) -> str:
        parameters = checked_parameters(tool)
        required = parameters.get("required", [])
        shared = definitions_of(parameters)
        end = f"\n{self.parameter_end}"
        pieces = [grammar.literal(f"{self.function[0]}{tool.name}{self.function[1]}\n")]
        for key, schema in parameters["properties"].items():
            piece = grammar.literal(f"{self.parameter[0]}{key}{self.parameter[1]}\n")
            piece += f" {tagged_rule(grammar, schema, shared, end)} {grammar.literal(chr(10))}"
            pieces.append(piece if key in required else f"({piece})?")
        return " ".join([*pieces, grammar.literal(self.function_end)])


QWEN_CODER = TaggedCalls()
SEED = TaggedCalls("<seed:tool_call>", "</seed:tool_call>")
MINIMAX = TaggedCalls(
    "<minimax:tool_call>",
    "</minimax:tool_call>",
    ('<invoke name="', '">'),
    "</invoke>",
    ('<parameter name="', '">'),
)
