"""Arguments that families write in another notation than JSON, and that callers get as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from blazen.chat.calls.form import NO_PARAMETERS
from blazen.errors import BlazenError, UnsupportedError
from blazen.types.chat import Tool


def as_json_text(text: str) -> str:
    """Write a piece of a text as JSON writes it, without the quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def as_json(text: str) -> str:
    """Write a bare value as JSON: what is no number, boolean or other JSON is a text."""
    plain = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        json.loads(plain, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    return plain


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def checked_parameters(tool: Tool) -> dict[str, Any]:
    """Give the schema of a tool's arguments in the simple form; what can't be is refused."""
    from blazen.schema import check_schema

    schema = check_schema({"type": "object", **(tool.parameters or NO_PARAMETERS)})
    while "$ref" in schema:
        shared = schema["$defs"]
        schema = {**shared[schema["$ref"].removeprefix("#/$defs/")], "$defs": shared}
    if "properties" not in schema:
        raise UnsupportedError(
            f"this model writes the arguments of a call one by one, and the schema of "
            f"{tool.name!r} does not name them: give it 'properties', without anyOf around them"
        )
    return schema


def parameters_of(name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    """Give the schemas of a tool's parameters by their names."""
    for tool in tools:
        if tool.name == name:
            try:
                return dict(checked_parameters(tool)["properties"])
            except BlazenError:  # no grammar holds the model to it; what it says may still help
                properties = (tool.parameters or {}).get("properties", {})
                return dict(properties) if isinstance(properties, Mapping) else {}
    return {}


def is_text(schema: Any) -> bool:
    """Whether a value of this schema can only be a text."""
    if not isinstance(schema, Mapping):
        return False
    if "enum" in schema:
        values = schema["enum"]
        return isinstance(values, list) and all(isinstance(value, str) for value in values)
    return bool(schema.get("type") == "string")
