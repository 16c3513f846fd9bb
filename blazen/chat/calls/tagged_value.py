"""The value of an argument between tags: a text as it is, anything else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blazen.chat.calls.free_text import text_before
from blazen.chat.calls.values import as_json, as_json_text, is_text
from blazen.chat.cursor import Cursor, Marks, Reading
from blazen.chat.sink import Sink

if TYPE_CHECKING:
    from blazen.schema import Grammar


def copy_tagged(cursor: Cursor, sink: Sink, end: str, schema: Any, *, lines: bool) -> Reading[bool]:
    """Hand out a value as JSON and go on behind its end; false where it was cut.

    With ``lines`` a line break after the tag and one before the end belong to the tags. What the
    schema says is a text goes out as it comes; what else it is shows at its end.
    """
    text = is_text(schema)
    pieces: list[str] = []
    ends = Marks((f"\n{end}", end) if lines else (end,))
    if lines:
        yield from cursor.starts_with("\n")
    if text:
        sink.arguments('"')
    while True:
        found = ends.find(cursor.text, cursor.at)
        until = ends.partial(cursor.text, cursor.at) if found is None else found.start()
        piece = cursor.text[cursor.at : until]
        cursor.at = until if found is None else found.end()
        if text:
            sink.arguments(as_json_text(piece))
        else:
            pieces.append(piece)
        if found is not None:
            sink.arguments('"' if text else as_json("".join(pieces)))
            return True
        if not (yield from cursor.more()):
            rest = cursor.rest()
            sink.arguments(as_json_text(rest) if text else "".join([*pieces, rest]))
            return False


def tagged_rule(grammar: Grammar, schema: Any, shared: Mapping[str, Any], end: str) -> str:
    """Write the piece that is a value and its end."""
    if not is_text(schema):
        whole = {**schema, **shared} if isinstance(schema, Mapping) else schema
        return f"{grammar.json(whole)} {grammar.literal(end)}"
    if "enum" in schema:
        values = " | ".join(grammar.literal(value) for value in schema["enum"])
        return f"({values}) {grammar.literal(end)}"
    return text_rule(grammar, schema, end)


def text_rule(grammar: Grammar, schema: Mapping[str, Any], end: str) -> str:
    """Write the piece that is a text without quotes, as long as it may be, and its end."""
    if "pattern" in schema:
        return f"{grammar.regex(schema['pattern'])} {grammar.literal(end)}"
    if "minLength" not in schema and "maxLength" not in schema:
        return text_before(grammar, end)
    from blazen.schema.characters import complement, only

    # Without the letter that the end begins with, so that what is counted can't be the end.
    letter = grammar.rule("letter", grammar.characters(complement(only(end[0]))))
    text = grammar.repeat(letter, schema.get("minLength", 0), schema.get("maxLength"))
    return f"{text} {grammar.literal(end)}".strip()


def definitions_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the schemas of parameters may refer to."""
    return {key: parameters[key] for key in ("$defs", "definitions") if key in parameters}
