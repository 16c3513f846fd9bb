"""Whether a value fits a JSON schema: the same keywords as the grammars know, and no others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema.formats import PATTERNS, has_format
from blazen.schema.regex import search
from blazen.schema.vocabulary import ANNOTATIONS, TYPES, refuse_keyword, resolve


def check_value(value: Any, schema: Any, where: str = "$") -> None:
    """Refuse a value that does not fit a schema: the error says where it does not and why."""
    try:
        problem = next(_Check(schema).problems(value, schema, where, 0), None)
    except RecursionError as error:
        raise ValidationError(f"{where} is nested too deeply to be checked") from error
    if problem is not None:
        raise ValidationError(problem)


def fits(value: Any, schema: Any, root: Any) -> bool:
    """Tell whether a value fits a part of a schema."""
    return next(_Check(root).problems(value, schema, "$", 0), None) is None


def equal(first: Any, second: Any) -> bool:
    """Tell whether two values are the same JSON: ``1`` is ``1.0``, but ``True`` is not ``1``."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return (type(first) is type(second) and bool(first == second)) or (
        is_type(first, "number") and is_type(second, "number") and bool(first == second)
    )


def is_type(value: Any, name: str) -> bool:
    """Tell whether a value is of a type of JSON; ``2.0`` is an integer too."""
    if name not in ("integer", "number"):
        return isinstance(value, TYPES[name])
    if isinstance(value, float):
        return value.is_integer() if name == "integer" else math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


class _Check:
    def __init__(self, root: Any) -> None:
        self._root = root

    def problems(self, value: Any, schema: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(schema, bool):
            if not schema:
                yield f"{where} must not be there, and is {_show(value)}"
            return
        if depth > 500:
            raise RecursionError
        for keyword, wanted in schema.items():
            if keyword in ANNOTATIONS or keyword in ("$defs", "definitions"):
                continue
            check = _CHECKS.get(keyword)
            if check is None:
                refuse_keyword(keyword, schema, where)
            yield from check(self, value, wanted, schema, where, depth)

    def _reference(self, value: Any, pointer: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        yield from self.problems(value, resolve(self._root, pointer, where), where, depth + 1)

    def _type(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        names = [wanted] if isinstance(wanted, str) else wanted
        if not any(is_type(value, name) for name in names):
            yield f"{where} must be {_named(names)}, not {_show(value)}"

    def _enum(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if not any(equal(value, one) for one in wanted):
            yield f"{where} must be one of {', '.join(map(_show, wanted))}, not {_show(value)}"

    def _const(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if not equal(value, wanted):
            yield f"{where} must be {_show(wanted)}, not {_show(value)}"

    def _all(self, value: Any, branches: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        for branch in branches:
            yield from self.problems(value, branch, where, depth + 1)

    def _any(self, value: Any, branches: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        found = self._failures(value, branches, where, depth)
        if len(found) == len(branches):
            yield "; or ".join(dict.fromkeys(found))

    def _one(self, value: Any, branches: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        found = self._failures(value, branches, where, depth)
        if len(found) == len(branches):
            yield "; or ".join(dict.fromkeys(found))
        elif len(found) < len(branches) - 1:
            yield f"{where} fits several schemas of which it may fit one: {_show(value)}"

    def _failures(self, value: Any, branches: Any, where: str, depth: int) -> list[str]:
        first = [next(self.problems(value, one, where, depth + 1), None) for one in branches]
        return [problem for problem in first if problem is not None]

    # Objects

    def _properties(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(value, dict):
            for name, schema in wanted.items():
                if name in value:
                    yield from self.problems(value[name], schema, f"{where}.{name}", depth + 1)

    def _required(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(value, dict):
            for name in wanted:
                if name not in value:
                    yield f"{where}.{name} is missing"

    def _others(
        self, value: Any, wanted: Any, schema: Any, where: str, depth: int
    ) -> Iterator[str]:
        if isinstance(value, dict):
            for name, item in value.items():
                if name not in schema.get("properties", {}):
                    yield from self.problems(item, wanted, f"{where}.{name}", depth + 1)

    # Arrays

    def _prefix(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(value, list):
            for at, (item, schema) in enumerate(zip(value, wanted, strict=False)):
                yield from self.problems(item, schema, f"{where}[{at}]", depth + 1)

    def _items(self, value: Any, wanted: Any, schema: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(value, list):
            for at in range(len(schema.get("prefixItems", ())), len(value)):
                yield from self.problems(value[at], wanted, f"{where}[{at}]", depth + 1)

    # Texts

    def _pattern(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(value, str) and not search(wanted, value):
            yield f"{where} must match {wanted!r:.80}, and is {_show(value)}"

    def _format(self, value: Any, wanted: Any, _: Any, where: str, depth: int) -> Iterator[str]:
        if wanted not in PATTERNS:
            raise UnsupportedError(f"{where}: the format {wanted!r:.80} can't be checked")
        if isinstance(value, str) and not has_format(wanted, value):
            yield f"{where} must be a text of the format {wanted!r}, and is {_show(value)}"


def _bound(
    tp: Any, measure: Callable[[Any], Any], holds: Callable[[Any, Any], bool], words: str
) -> Any:
    def check(
        _self: _Check, value: Any, bound: Any, _schema: Any, where: str, _depth: int
    ) -> Iterator[str]:
        fitting_type = is_type(value, "number") if tp is float else isinstance(value, tp)
        if fitting_type and not holds(measure(value), bound):
            yield f"{where} must {words.format(bound)}, and is {_show(value)}"

    return check


def _itself(value: Any) -> Any:
    return value


def _at_least(measured: Any, bound: Any) -> bool:
    return bool(measured >= bound)


def _at_most(measured: Any, bound: Any) -> bool:
    return bool(measured <= bound)


_CHECKS: dict[str, Any] = {
    "$ref": _Check._reference,
    "type": _Check._type,
    "enum": _Check._enum,
    "const": _Check._const,
    "allOf": _Check._all,
    "anyOf": _Check._any,
    "oneOf": _Check._one,
    "properties": _Check._properties,
    "required": _Check._required,
    "additionalProperties": _Check._others,
    "prefixItems": _Check._prefix,
    "items": _Check._items,
    "minItems": _bound(list, len, _at_least, "have at least {} items"),
    "maxItems": _bound(list, len, _at_most, "have at most {} items"),
    "pattern": _Check._pattern,
    "format": _Check._format,
    "minLength": _bound(str, len, _at_least, "have at least {} characters"),
    "maxLength": _bound(str, len, _at_most, "have at most {} characters"),
    "minimum": _bound(float, _itself, _at_least, "be at least {}"),
    "maximum": _bound(float, _itself, _at_most, "be at most {}"),
    "exclusiveMinimum": _bound(float, _itself, lambda n, bound: n > bound, "be more than {}"),
    "exclusiveMaximum": _bound(float, _itself, lambda n, bound: n < bound, "be less than {}"),
}
KEYWORDS = frozenset(_CHECKS)


def _named(names: list[str]) -> str:
    words = {"object": "an object", "array": "a list", "string": "a text", "integer": "an integer",
             "number": "a number", "boolean": "true or false", "null": "null"}  # fmt: skip
    return " or ".join(words[name] for name in names)


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
