"""Whether the keywords of a schema have values of the right kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from blazen.errors import ValidationError
from blazen.schema.vocabulary import TYPES


def check_shape(keyword: str, value: Any, where: str) -> None:
    """Refuse a keyword's value that JSON schema gives no meaning."""
    holds, words = _SHAPES[keyword]
    if not holds(value):
        raise ValidationError(
            f"the schema's {keyword!r} at {where} must be {words}, not {value!r:.80}"
        )


def _is_schema(value: Any) -> bool:
    return isinstance(value, (dict, bool))


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_schema, value))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_count(value: Any) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _are_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return _are_texts(names) and bool(names) and all(name in TYPES for name in names)


def _are_members(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and _is_schema(one) for name, one in value.items()
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_Shape = tuple[Callable[[Any], bool], str]
_SCHEMA: _Shape = (_is_schema, "a schema")
_SCHEMAS: _Shape = (_are_schemas, "a list of schemas")
_COUNT: _Shape = (_is_count, "a whole number of 0 or more")
_NUMBER: _Shape = (_is_number, "a number")
_TEXT: _Shape = (_is_text, "a text")
_SHAPES: dict[str, _Shape] = {
    "$ref": _TEXT,
    "type": (_are_types, f"of {', '.join(TYPES)}, or a list of these"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of values"),
    "const": (lambda _: True, "a value"),
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "oneOf": _SCHEMAS,
    "properties": (_are_members, "a dictionary of schemas"),
    "required": (_are_texts, "a list of names"),
    "additionalProperties": _SCHEMA,
    "prefixItems": _SCHEMAS,
    "items": _SCHEMA,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "pattern": _TEXT,
    "format": _TEXT,
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
}
