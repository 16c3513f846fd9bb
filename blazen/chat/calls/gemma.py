"""Gemma's calls: ``call:name{key:value}`` with marks of its own in place of quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blazen.chat.calls.form import several
from blazen.chat.calls.json_text import copy_value
from blazen.chat.calls.names import read_name
from blazen.chat.calls.tagged_value import definitions_of, text_rule
from blazen.chat.calls.values import as_json, as_json_text, checked_parameters
from blazen.chat.cursor import Cursor, Marks, Reading
from blazen.chat.sink import Sink
from blazen.errors import UnsupportedError
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

_BARE = re.compile(r"[^,}\]<]*")
_KEY_LIMIT = 256
_DEEPEST = 64
"""What lies deeper is read as a bare text: a model that only opens brackets has lost itself."""


@dataclass(frozen=True)
class GemmaCalls:
    """FunctionGemma's form, and Gemma 4's with other marks. Arguments are handed out as JSON."""

    open: str = "<start_function_call>"
    close: str = "<end_function_call>"
    quote: str = "<escape>"
    answer: str = "<start_function_response>"
    """What stands before a tool's answer: a model that writes it has ended its calls."""
    bare: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """The text that begins a call."""
        return (self.open,)

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return self.open

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read a call behind its mark; false where it is none, and then it is text."""
        yield from cursor.skip_space()
        if not (yield from cursor.starts_with("call:")):
            return False
        name = yield from read_name(cursor, ("{",))
        if name is None:
            return False
        cursor.forget()
        sink.call(name)
        if (yield from self._members(cursor, sink, 1)):
            sink.end_call()
            yield from cursor.skip_space()
            yield from cursor.starts_with(self.close)
            yield from cursor.skip_space()
            if (yield from cursor.starts_with(self.answer)):
                sink.end_calls()
        return True

    def _members(self, cursor: Cursor, sink: Sink, depth: int) -> Reading[bool]:
        """Read what stands in braces; false where it was cut."""
        cursor.at += 1
        before = "{"
        while True:
            letter = yield from cursor.skip_space()
            if letter == "":
                return False
            if letter == "," and before != "{":
                cursor.at += 1
                continue
            if letter == "}" or (yield from cursor.comes(self.close)):  # a brace was forgotten
                cursor.at += letter == "}"
                sink.arguments("{}" if before == "{" else "}")
                return True
            quoted = yield from cursor.starts_with(self.quote)
            key = yield from cursor.until(self.quote if quoted else ":", limit=_KEY_LIMIT)
            if key is None:
                return not cursor.ended
            if quoted:
                yield from cursor.skip_space()
                yield from cursor.starts_with(":")
            key = key.strip().strip('"')
            sink.arguments(f"{before}{json.dumps(key, ensure_ascii=False)}: ")
            before = ", "
            if not (yield from self._value(cursor, sink, depth)):
                return False

    def _value(self, cursor: Cursor, sink: Sink, depth: int) -> Reading[bool]:
        letter = yield from cursor.skip_space()
        if letter == "{" and depth < _DEEPEST:
            return (yield from self._members(cursor, sink, depth + 1))
        if letter == "[" and depth < _DEEPEST:
            return (yield from self._items(cursor, sink, depth + 1))
        if letter == '"':
            return (yield from copy_value(cursor, sink.arguments))
        if letter and (yield from cursor.starts_with(self.quote)):
            return (yield from self._text(cursor, sink))
        pieces: list[str] = []
        while True:
            found = _BARE.match(cursor.text, cursor.at)
            assert found is not None
            pieces.append(found[0])
            cursor.at = found.end()
            if cursor.at < len(cursor.text):
                sink.arguments(as_json("".join(pieces).strip()))
                return True
            if not (yield from cursor.more()):
                sink.arguments("".join(pieces))
                return False

    def _text(self, cursor: Cursor, sink: Sink) -> Reading[bool]:
        ends = Marks((self.quote,))
        sink.arguments('"')
        while True:
            found = ends.find(cursor.text, cursor.at)
            end = ends.partial(cursor.text, cursor.at) if found is None else found.start()
            sink.arguments(as_json_text(cursor.text[cursor.at : end]))
            cursor.at = end
            if found is not None:
                cursor.at = found.end()
                sink.arguments('"')
                return True
            if not (yield from cursor.more()):
                sink.arguments(as_json_text(cursor.rest()))
                return False

    def _items(self, cursor: Cursor, sink: Sink, depth: int) -> Reading[bool]:
        cursor.at += 1
        before = "["
        while True:
            letter = yield from cursor.skip_space()
            if letter == "":
                return False
            if letter == "," and before != "[":
                cursor.at += 1
                continue
            if letter == "]":
                cursor.at += 1
                sink.arguments("[]" if before == "[" else "]")
                return True
            stray = letter == "<" and not (yield from cursor.comes(self.quote))
            if stray or letter == "}":  # a bracket was forgotten
                sink.arguments("[]" if before == "[" else "]")
                return True
            sink.arguments(before)
            before = ", "
            if not (yield from self._value(cursor, sink, depth)):
                return False

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        calls = []
        for tool in tools:
            schema = checked_parameters(tool)
            body = self._object_rule(grammar, schema, definitions_of(schema))
            head, tail = f"{self.open}call:{tool.name}", self.close
            calls.append(f"{grammar.literal(head)} {body} {grammar.literal(tail)}")
        return several(grammar, grammar.rule("call", " | ".join(calls)), "", most)

    def _object_rule(self, grammar: Grammar, schema: dict[str, Any], shared: dict[str, Any]) -> str:
        """Write an object's rule; members stand in the order of the schema, as templates write."""
        members = []
        required = schema.get("required", [])
        for key, value in schema.get("properties", {}).items():
            head = grammar.literal(f"{key}:")
            members.append((key in required, f"{head} {self._value_rule(grammar, value, shared)}"))
        if not members:
            return '"{" "}"'
        return f'"{{" {self._first(grammar, members)} "}}"'

    def _first(self, grammar: Grammar, members: list[tuple[bool, str]]) -> str:
        options = []
        for at, (is_required, member) in enumerate(members):
            rest = [
                f'"," {other}' if needed else f'("," {other})?'
                for needed, other in members[at + 1 :]
            ]
            options.append(" ".join([member, *rest]))
            if is_required:
                break
        else:
            options.append('""')
        return grammar.rule("members", " | ".join(options))

    def _value_rule(self, grammar: Grammar, schema: dict[str, Any], shared: dict[str, Any]) -> str:
        kind = schema.get("type")
        if "$ref" in schema:
            return self._reference(grammar, schema["$ref"], shared)
        if "anyOf" in schema:
            each = [self._value_rule(grammar, branch, shared) for branch in schema["anyOf"]]
            return f"({' | '.join(each)})"
        values = schema.get("enum", ())
        if values and not any(isinstance(value, (list, dict)) for value in values):
            texts = [
                f"{self.quote}{value}{self.quote}" if isinstance(value, str) else json.dumps(value)
                for value in values
            ]
            return f"({' | '.join(map(grammar.literal, texts))})"
        if kind == "string":
            return f"{grammar.literal(self.quote)} {text_rule(grammar, schema, self.quote)}"
        if kind == "array" and "prefixItems" not in schema and schema["items"] is not False:
            # Where any JSON may be an item, a text is.
            item_schema = schema["items"] or {"type": "string"}
            return self._array_rule(grammar, {**schema, "items": item_schema}, shared)
        if kind == "object":
            return self._object_rule(grammar, schema, shared)
        if kind in ("integer", "number", "boolean", "null"):
            return grammar.json(schema)
        raise UnsupportedError(
            f"Gemma's notation of calls has no rule for a parameter of the schema {schema!r:.80}: "
            "give it a type"
        )

    def _array_rule(self, grammar: Grammar, schema: dict[str, Any], shared: dict[str, Any]) -> str:
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        if high == 0:
            return '"[]"'
        item = self._value_rule(grammar, schema["items"], shared)
        more = grammar.rule("next", f'"," {item}')
        most = None if high is None else high - 1
        items = f"{item} {grammar.repeat(more, max(low - 1, 0), most)}".strip()
        return f'"[" {items} "]"' if low else f'"[" ({items})? "]"'

    def _reference(self, grammar: Grammar, pointer: str, shared: dict[str, Any]) -> str:
        definition = shared["$defs"][pointer.removeprefix("#/$defs/")]
        key = f"{self.open} {json.dumps(definition)} {json.dumps(shared)}"
        known = grammar.shared.get(key)
        if known is None:
            known = grammar.shared[key] = grammar.reserve("ref")
            grammar.define(known, self._value_rule(grammar, definition, shared))
        return known


FUNCTION_GEMMA = GemmaCalls()
GEMMA_4 = GemmaCalls("<|tool_call>", "<tool_call|>", '<|"|>', "<|tool_response>")
