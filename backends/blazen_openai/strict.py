"""JSON schemas as OpenAI's strict mode takes them.

Strict mode knows a part of JSON Schema. What it can't say is left out where that only allows more
(the answer is checked afterwards); what would change the meaning has no strict form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEPT = (
    "description",
    "title",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
)
_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
)
_LEFT_OUT = (
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$id",
    "$comment",
    "minLength",
    "maxLength",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "contentEncoding",
    "contentMediaType",
)
_STRUCTURE = (
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "enum",
    "const",
    "format",
    "$ref",
    "$defs",
    "definitions",
)
_NAMES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_DEEPEST = 10
_MOST_PROPERTIES = 5000
_MOST_VALUES = 1000


class _NotStrict(Exception):
    """The schema says what strict mode can't."""


def strict_form(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give a schema for strict mode: what fits it, and the bounds left out, fits the given one.

    Objects are closed and all their fields required. ``None`` where there is no such schema.
    """
    if schema.get("type") != "object":
        return None  # its root is an object, and no choice
    writer = _Writer()
    try:
        return writer.whole(schema)
    except _NotStrict:
        return None


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Say whether strict mode takes a schema without a change to its meaning."""
    found = strict_form(schema)
    return found is not None and _same(schema, found)


class _Writer:
    def __init__(self) -> None:
        self._properties = 0
        self._values = 0

    def whole(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        written = self._one(schema, 0)
        for holder in ("$defs", "definitions"):
            if holder in schema:
                written[holder] = {
                    name: self._one(each, 1) for name, each in schema[holder].items()
                }
        return written

    def _one(self, schema: Any, depth: int) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            raise _NotStrict
        if set(schema) - {*_KEPT, *_LEFT_OUT, *_STRUCTURE}:
            raise _NotStrict
        if "$ref" in schema:
            if not str(schema["$ref"]).startswith("#") or set(schema) & {"type", "anyOf", "allOf"}:
                raise _NotStrict
            return {"$ref": schema["$ref"]}
        if "allOf" in schema:
            return self._only_one(schema, depth)
        written = {name: schema[name] for name in _KEPT if name in schema}
        if schema.get("format") in _FORMATS:
            written["format"] = schema["format"]
        choices = schema.get("anyOf", schema.get("oneOf"))
        if choices is not None:
            if "type" in schema or "enum" in schema:
                raise _NotStrict
            return {**written, "anyOf": [self._one(each, depth) for each in choices]}
        if "enum" in schema or "const" in schema:
            return {**self._constants(schema), **written}
        names = schema.get("type")
        written = {"type": names, **written}
        listed = names if isinstance(names, list) else [names]
        if not listed or not set(listed) <= {*_NAMES.values(), "object", "array"}:
            raise _NotStrict
        if "object" in listed:
            written |= self._object(schema, depth)
        if "array" in listed:
            written["items"] = self._one(schema.get("items"), depth + 1)
        return written

    def _only_one(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        if len(schema["allOf"]) != 1 or set(rest) - {"description", "title", "default"}:
            raise _NotStrict
        return self._one(schema["allOf"][0], depth)

    def _constants(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        names = schema.get("type") or _type_of(values)
        self._values += len(values)
        if self._values > _MOST_VALUES or any(type(value) not in _NAMES for value in values):
            raise _NotStrict
        return {"type": names, "enum": list(values)}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        self._properties += len(properties)
        others = schema.get("additionalProperties", False)
        # An object of free keys is a map: closed, it would be empty.
        if others not in (False, True) or (not properties and others is not False):
            raise _NotStrict
        if not properties and "additionalProperties" not in schema:
            raise _NotStrict
        if self._properties > _MOST_PROPERTIES or set(schema.get("required", ())) - set(properties):
            raise _NotStrict
        return {
            "properties": {name: self._one(each, depth + 1) for name, each in properties.items()},
            "required": list(properties),
            "additionalProperties": False,
        }


def _type_of(values: list[Any]) -> str | list[str]:
    names = list(dict.fromkeys(_NAMES.get(type(value), "") for value in values))
    return names[0] if len(names) == 1 else names


def _same(schema: Any, written: Any) -> bool:
    """Say whether nothing was left out or added but the type of listed values."""
    if not isinstance(schema, Mapping) or not isinstance(written, Mapping):
        return bool(schema == written)
    for name in {*schema, *written}:
        if name in ("title", "description") or (name == "type" and name not in schema):
            continue
        if name == "required":
            if set(schema.get(name, ())) != set(written.get(name, ())):
                return False
        elif name in ("properties", "$defs", "definitions"):
            given, found = schema.get(name, {}), written.get(name, {})
            if set(given) != set(found) or not all(_same(given[key], found[key]) for key in given):
                return False
        elif not _same(schema.get(name), written.get(name)):
            return False
    return True
