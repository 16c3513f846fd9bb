"""Schemas that a model can be held to: checked keyword by keyword, and put into one simple form.

A grammar, and every engine, gets the simple form, so that all mean the same: an object has exactly
the properties it names unless the schema says what else may be there, a format is a pattern, and
what several keywords say together is said in one place.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema.apart import can_end, find_loop, overlap
from blazen.schema.formats import PATTERNS
from blazen.schema.malformed import check_shape
from blazen.schema.merging import NothingFits, merge
from blazen.schema.numbers import check_bounds
from blazen.schema.regex import parse_search
from blazen.schema.regex_reader import MOST_REPEATS
from blazen.schema.regex_tree import lengths, write_regex
from blazen.schema.value import KEYWORDS, fits
from blazen.schema.vocabulary import ANNOTATIONS, refuse_keyword, resolve

_DEEPEST = 60
_MOST_PARTS = 5_000
_LONGEST_NAME = 200

_OF_TYPE = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("prefixItems", "items", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


def check_schema(schema: Any) -> dict[str, Any]:
    """Give a schema in the simple form that every engine is held to; refuse what none can be.

    The result is a plain JSON schema with the same keywords, and narrower where JSON schema leaves
    open what a model can't be left: an object without ``additionalProperties`` gets ``false``.
    """
    schema = {} if schema is True else schema
    if not isinstance(schema, dict):
        raise ValidationError(f"a JSON schema is a dictionary, not {schema!r:.80}")
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"the schema can't be written as JSON: {error}") from error
    simple = _Simplifier(schema).whole()
    if loop := find_loop(simple):
        raise UnsupportedError(f"the schema refers to itself with nothing in between: {loop}")
    if endless := can_end(simple):
        raise ValidationError(
            f"no value can fit the schema: what it asks for at {endless} never ends"
        )
    return simple


class _Simplifier:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._parts = 0
        self._definitions: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def whole(self) -> dict[str, Any]:
        try:
            simple = self._simple(self._root, "$", 0)
        except NothingFits as error:
            raise ValidationError(f"no value can fit the schema at {error}") from error
        return simple | ({"$defs": self._definitions} if self._definitions else {})

    def _simple(self, schema: Any, where: str, depth: int) -> dict[str, Any]:
        """Give the simple form of a part; `NothingFits` if it can't be fitted."""
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            limit = f"{_DEEPEST} deep" if depth > _DEEPEST else f"{_MOST_PARTS:,} parts"
            raise UnsupportedError(f"the schema is too large at {where}: at most {limit}")
        if isinstance(schema, bool):
            if not schema:
                raise NothingFits(where)
            return {}
        schema = self._told(schema, where)
        if "$ref" in schema:
            if len(schema) == 1:
                return {"$ref": f"#/$defs/{self._definition(schema['$ref'], where, depth)}"}
            return self._simple(self._expanded(schema, where), where, depth + 1)
        if "allOf" in schema:
            return self._simple(self._merged(schema, where), where, depth + 1)
        for keyword in ("oneOf", "anyOf"):
            if keyword in schema:
                return self._branches(schema, keyword, where, depth)
        if "const" in schema or "enum" in schema:
            return self._constants(schema, where)
        return self._typed(schema, where, depth)

    def _possible(self, schema: Any, where: str, depth: int) -> dict[str, Any] | None:
        """Give the simple form of a part that may be left out; ``None`` if it can't be fitted."""
        try:
            return self._simple(schema, where, depth + 1)
        except NothingFits:
            return None

    def _told(self, schema: Any, where: str) -> dict[str, Any]:
        """Give the keywords that count, each of them known and well formed."""
        if not isinstance(schema, dict):
            raise ValidationError(f"the schema at {where} is a dictionary, not {schema!r:.80}")
        told = {}
        for keyword, wanted in schema.items():
            if keyword in ANNOTATIONS or keyword in ("$defs", "definitions"):
                continue
            if not isinstance(keyword, str) or keyword not in KEYWORDS:
                refuse_keyword(keyword, schema, where)
            check_shape(keyword, wanted, where)
            told[keyword] = wanted
        return told

    # References and what must hold at once

    def _definition(self, pointer: str, where: str, depth: int) -> str:
        name = self._names.get(pointer)
        if name is None:
            last = pointer.split("/")[-1]
            plain = "".join(one if one.isascii() and one.isalnum() else "_" for one in last)
            name = plain if plain not in self._definitions else f"{plain}_{len(self._definitions)}"
            self._names[pointer] = name
            self._definitions[name] = {}
            target = resolve(self._root, pointer, where)
            try:
                self._definitions[name] = self._simple(target, pointer, depth + 1)
            except NothingFits as error:
                # Others may refer to it already, so it can't be dropped as a branch can.
                raise ValidationError(f"no value can fit the schema at {error}") from error
        return name

    def _expanded(self, schema: Any, where: str) -> Any:
        """Put what a reference points at in its place."""
        seen: list[str] = []
        while isinstance(schema, dict) and "$ref" in schema:
            pointer = schema["$ref"]
            if pointer in seen:
                raise UnsupportedError(
                    f"the schema's '$ref' at {where} leads back to itself: {pointer!r:.80}"
                )
            seen.append(pointer)
            rest = {keyword: wanted for keyword, wanted in schema.items() if keyword != "$ref"}
            target = resolve(self._root, pointer, where)
            target = target if isinstance(target, bool) else self._told(target, pointer)
            schema = merge(target, rest, where) if rest else target
        return schema

    def _merged(self, schema: dict[str, Any], where: str) -> Any:
        """Merge what ``allOf`` holds into one schema."""
        whole: Any = {keyword: wanted for keyword, wanted in schema.items() if keyword != "allOf"}
        for at, branch in enumerate(schema["allOf"]):
            inner = (
                branch if isinstance(branch, bool) else self._told(branch, f"{where}.allOf[{at}]")
            )
            whole = merge(whole, self._expanded(inner, where), where)
        return whole

    def _branches(
        self, schema: dict[str, Any], keyword: str, where: str, depth: int
    ) -> dict[str, Any]:
        rest = {name: wanted for name, wanted in schema.items() if name != keyword}
        each = [
            self._possible(
                {"allOf": [rest, branch]} if rest else branch, f"{where}.{keyword}[{at}]", depth
            )
            for at, branch in enumerate(schema[keyword])
        ]
        kept = [branch for branch in each if branch is not None]
        if keyword == "oneOf" and (pair := overlap(kept, self._definitions)):
            raise UnsupportedError(
                f"the branches {pair[0]} and {pair[1]} of the schema's 'oneOf' at {where} may both "
                "fit one value, which no model can be kept from: use 'anyOf'"
            )
        return _any_of(kept, f"{where}.{keyword}")

    # Values

    def _constants(self, schema: dict[str, Any], where: str) -> dict[str, Any]:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        kept = [copy.deepcopy(value) for value in values if fits(value, schema, self._root)]
        if not kept:
            raise NothingFits(where)
        return {"enum": kept}

    def _typed(self, schema: dict[str, Any], where: str, depth: int) -> dict[str, Any]:
        names = schema.get("type")
        if names is None:
            names = self._meant(schema)
        elif isinstance(names, str):
            names = [names]
        if "number" in names:
            names = [name for name in names if name != "integer"]
        if not names:
            return {}
        if len(names) == 1:
            return self._of_type(names[0], schema, where, depth)
        each = [self._possible({**schema, "type": name}, where, depth) for name in names]
        return _any_of([one for one in each if one is not None], where)

    def _meant(self, schema: dict[str, Any]) -> list[str]:
        """Give the types that keywords speak of, where the schema does not name one."""
        return [name for name, own in _OF_TYPE.items() if any(one in schema for one in own)]

    def _of_type(self, name: str, schema: dict[str, Any], where: str, depth: int) -> dict[str, Any]:
        if name == "object":
            return self._object(schema, where, depth)
        if name == "array":
            return self._array(schema, where, depth)
        if name == "string":
            return self._text(schema, where)
        if name in ("integer", "number"):
            return self._number(name, schema, where)
        return {"type": name}

    def _object(self, schema: dict[str, Any], where: str, depth: int) -> dict[str, Any]:
        required = list(dict.fromkeys(schema.get("required", ())))
        named = schema.get("properties", {})
        others = schema.get("additionalProperties", "properties" not in schema and not required)
        properties = {}
        for name in dict.fromkeys((*named, *required)):
            inner = f"{where}.properties.{name}"
            if len(name) > _LONGEST_NAME:
                raise UnsupportedError(f"a property's name of {len(name):,} characters at {where}")
            member = named.get(name, schema.get("additionalProperties", True))
            simple = self._possible(member, inner, depth)
            if simple is not None:
                properties[name] = simple
            elif name in required:
                raise NothingFits(inner)
        others = self._possible(others, f"{where}.additionalProperties", depth)
        return {
            "type": "object",
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False if others is None else others,
        }

    def _array(self, schema: dict[str, Any], where: str, depth: int) -> dict[str, Any]:
        low, high = int(schema.get("minItems", 0)), schema.get("maxItems")
        prefix: list[Any] = []
        items = self._possible(schema.get("items", True), f"{where}.items", depth)
        for at, fixed in enumerate(schema.get("prefixItems", ())):
            simple = self._possible(fixed, f"{where}.prefixItems[{at}]", depth)
            if simple is None:
                items = None
                break
            prefix.append(simple)
        if items is None:
            high = min(len(prefix), len(prefix) if high is None else high)
        if high is not None and high < low:
            raise NothingFits(where)
        _limit(low, high, "items", where)
        return {
            "type": "array",
            **({"prefixItems": prefix[:high]} if prefix[:high] else {}),
            "items": False if items is None else items,
            **_given(minItems=low or None, maxItems=None if high is None else int(high)),
        }

    def _text(self, schema: dict[str, Any], where: str) -> dict[str, Any]:
        low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
        if high is not None and high < low:
            raise NothingFits(where)
        _limit(low, high, "characters", where)
        if "format" not in schema and "pattern" not in schema:
            bounds = _given(minLength=low or None, maxLength=None if high is None else int(high))
            return {"type": "string"} | bounds
        if "format" in schema and "pattern" in schema:
            raise UnsupportedError(f"'pattern' and 'format' must hold at once at {where}: keep one")
        if "format" in schema:
            tree = parse_search(f"^(?:{_format(schema['format'], where)})$")
        else:
            tree = parse_search(schema["pattern"])
        least, most = lengths(tree)
        if least < low or (high is not None and (most is None or most > high)):
            raise UnsupportedError(
                f"'minLength' and 'maxLength' can't hold beside the pattern or format at {where}, "
                "which allows other lengths: put the length into the pattern"
            )
        return {"type": "string", "pattern": f"^(?:{write_regex(tree)})$"}

    def _number(self, name: str, schema: dict[str, Any], where: str) -> dict[str, Any]:
        simple = {"type": name, **{key: schema[key] for key in _OF_TYPE["number"] if key in schema}}
        check_bounds(simple, where)
        return simple


def _any_of(branches: list[dict[str, Any]], where: str) -> dict[str, Any]:
    if not branches:
        raise NothingFits(where)
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _format(name: str, where: str) -> str:
    pattern = PATTERNS.get(name)
    if pattern is None:
        raise UnsupportedError(
            f"the format {name!r:.80} at {where} is not supported, since no model can be held to "
            f"it; known are: {', '.join(sorted(PATTERNS))}"
        )
    return pattern


def _limit(low: int, high: int | None, of: str, where: str) -> None:
    most = max(low, high or 0)
    if most > MOST_REPEATS:
        raise UnsupportedError(
            f"a bound of {most:,} {of} at {where} is too large: at most {MOST_REPEATS:,}; leave it "
            "out, max_tokens ends an answer too"
        )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
