"""GLM's calls: a name on the first line, then a tag for each key and one for each value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blazen.chat.calls.form import several
from blazen.chat.calls.names import read_name
from blazen.chat.calls.tagged_value import copy_tagged, definitions_of, tagged_rule
from blazen.chat.calls.values import checked_parameters, parameters_of
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_KEY, _KEY_END = "<arg_key>", "</arg_key>"
_VALUE, _VALUE_END = "<arg_value>", "</arg_value>"
_LONGEST = 256


@dataclass(frozen=True)
class GlmCalls:
    """Values are as in `TaggedCalls`: the schema says which of them are texts."""

    bare: str = ""
    marks: tuple[str, ...] = (_OPEN,)
    trigger: str = _OPEN

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read a call behind its mark; false where it is none, and then it is text."""
        name = yield from read_name(cursor, (_KEY, _CLOSE))
        if name is None:
            return False
        cursor.forget()
        sink.call(name)
        schemas = parameters_of(name, tools)
        before = "{"
        while True:
            yield from cursor.skip_space()
            if not (yield from cursor.starts_with(_KEY)):
                break
            key = yield from cursor.until(_KEY_END, limit=_LONGEST)
            yield from cursor.skip_space()
            if key is None or not (yield from cursor.starts_with(_VALUE)):
                return True
            key = key.strip()
            sink.arguments(f"{before}{json.dumps(key, ensure_ascii=False)}: ")
            before = ", "
            if not (
                yield from copy_tagged(cursor, sink, _VALUE_END, schemas.get(key), lines=False)
            ):
                return True
        if (yield from cursor.starts_with(_CLOSE)) or (yield from cursor.skip_space()):
            sink.arguments("{}" if before == "{" else "}")
            sink.end_call()
        return True

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        calls = []
        for tool in tools:
            parameters = checked_parameters(tool)
            shared = definitions_of(parameters)
            pieces = [grammar.literal(f"{_OPEN}{tool.name}\n")]
            for key, schema in parameters["properties"].items():
                piece = self._argument(grammar, key, schema, shared)
                pieces.append(piece if key in parameters.get("required", []) else f"({piece})?")
            calls.append(" ".join([*pieces, grammar.literal(_CLOSE)]))
        return several(grammar, grammar.rule("call", " | ".join(calls)), "\n", most)

    @staticmethod
    def _argument(grammar: Grammar, key: str, schema: Any, shared: dict[str, Any]) -> str:
        head = grammar.literal(f"{_KEY}{key}{_KEY_END}\n{_VALUE}")
        return f'{head} {tagged_rule(grammar, schema, shared, _VALUE_END)} "\\n"'
