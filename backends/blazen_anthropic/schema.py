"""From a JSON schema to one that Anthropic's API holds an answer to.

It knows a part of JSON Schema. A limit on a value (a range, a length, a pattern) is told to the
model in the description, and what comes is checked here; a shape that it can't be held to is
refused. See platform.claude.com/docs, "Structured outputs", "JSON Schema limitations".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen.errors import UnsupportedError

_KEPT = ("enum", "const", "description", "title", "required", "$ref")
_FORMATS = frozenset(
    "date-time time date duration email hostname uri ipv4 ipv6 uuid".split()  # noqa: SIM905 - shorter
)
_TOLD = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
        *("examples", "default"),
    }
)
_UNSAID = frozenset({"$schema", "$id", "$comment", "discriminator", "readOnly", "writeOnly"})
"""They say nothing about the value."""


def narrowed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a schema that the API takes, and that allows nothing which this one does not name."""
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    _refuse_cycles(definitions)
    return _written(schema, definitions)


def _written(schema: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not schema:
        raise _unsupported(f"{schema!r:.40}, which allows anything")
    kinds = schema.get("type")
    if isinstance(kinds, (list, tuple)):
        rest = {name: value for name, value in schema.items() if name != "type"}
        return {"anyOf": [_written(_of_kind(rest, kind), definitions) for kind in kinds]}
    out = {name: schema[name] for name in _KEPT if name in schema}
    if "$ref" in out:
        out["$ref"] = str(out["$ref"]).replace("#/definitions/", "#/$defs/")
    limits = {}
    for name, value in schema.items():
        if name == "type":
            out["type"] = value
        elif name in ("$defs", "definitions"):
            inner = {key: _written(one, definitions) for key, one in definitions.items()}
            out["$defs"] = inner
        elif name in ("anyOf", "oneOf"):
            out["anyOf"] = [_written(one, definitions) for one in value]
        elif name == "allOf":
            out["allOf"] = [_written(one, definitions) for one in value]
        elif name == "properties":
            out[name] = {key: _written(one, definitions) for key, one in value.items()}
        elif name == "items" and isinstance(value, Mapping):
            out["items"] = _written(value, definitions)
        elif (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            out[name] = value
        elif name in _TOLD:
            limits[name] = value
        elif name not in (*_KEPT, *_UNSAID, "additionalProperties"):
            raise _unsupported(f"{name!r}")
    if schema.get("type") == "object" or "properties" in schema:
        _close(schema, out)
    if limits:
        told = ", ".join(f"{name}: {value}" for name, value in limits.items())
        out["description"] = f"{out.get('description', '')} ({told})".strip()
    return out


def _close(schema: Mapping[str, Any], out: dict[str, Any]) -> None:
    """Leave no room for further names: the API allows none."""
    further = schema.get("additionalProperties")
    if isinstance(further, Mapping) or (further is not False and not schema.get("properties")):
        raise _unsupported("an object whose names are not all given in 'properties'")
    out["type"] = "object"
    out.setdefault("properties", {})
    out["additionalProperties"] = False


def _of_kind(schema: dict[str, Any], kind: str) -> dict[str, Any]:
    """Give what a schema of several kinds says about one of them."""
    if kind == "null":
        return {"type": "null"}
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    return {**schema, "type": kind}


def _refuse_cycles(definitions: Mapping[str, Any]) -> None:
    done: set[str] = set()

    def follow(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise _unsupported(f"a schema that holds itself ({name!r})")
        if name not in done:
            for other in _references(definitions.get(name)):
                follow(other, (*above, name))
            done.add(name)

    for name in definitions:
        follow(name, ())


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        found = [str(schema["$ref"]).rpartition("/")[2]] if "$ref" in schema else []
        return found + [name for value in schema.values() for name in _references(value)]
    if isinstance(schema, (list, tuple)):
        return [name for value in schema for name in _references(value)]
    return []


def _unsupported(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"the 'anthropic' backend takes no such 'response_format': its API can't hold an answer to "
        f"{what}"
    )
