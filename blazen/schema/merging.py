"""Two JSON schemas as one that holds what both do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blazen.errors import UnsupportedError
from blazen.schema.value import equal
from blazen.schema.vocabulary import ANNOTATIONS

MOST_BRANCHES = 200


class NothingFits(Exception):
    """No value can fit both schemas."""


def merge(first: Any, second: Any, where: str) -> Any:
    """Give a schema of the values that fit both; references must be resolved before."""
    if first is True or second is True:
        return second if first is True else first
    if first is False or second is False:
        raise NothingFits(where)
    merged = {}
    for keyword in {**first, **second}:
        if keyword in ANNOTATIONS or keyword in _TOGETHER:
            continue
        if keyword in first and keyword in second and not equal(first[keyword], second[keyword]):
            join = _JOIN.get(keyword)
            if join is None:
                raise UnsupportedError(
                    f"two different {keyword!r} must hold at once at {where}: say it in one schema"
                )
            merged[keyword] = join(first[keyword], second[keyword], where)
        else:
            merged[keyword] = first.get(keyword, second.get(keyword))
    _merge_members(first, second, merged)
    _merge_items(first, second, merged)
    return merged


_TOGETHER = frozenset(("properties", "additionalProperties", "prefixItems", "items"))


def _merge_members(first: Any, second: Any, merged: Any) -> None:
    if not any(k in one for one in (first, second) for k in ("properties", "additionalProperties")):
        return
    names = {**first.get("properties", {}), **second.get("properties", {})}
    merged["properties"] = {
        name: _both(_member(first, name), _member(second, name)) for name in names
    }
    others = [
        one["additionalProperties"] for one in (first, second) if "additionalProperties" in one
    ]
    if others:
        merged["additionalProperties"] = _both(others[0], others[-1])


def _member(schema: Any, name: str) -> Any:
    return schema.get("properties", {}).get(name, schema.get("additionalProperties", True))


def _merge_items(first: Any, second: Any, merged: Any) -> None:
    if not any(k in one for one in (first, second) for k in ("prefixItems", "items")):
        return
    size = max(len(one.get("prefixItems", ())) for one in (first, second))
    if size:
        merged["prefixItems"] = [_both(_item(first, at), _item(second, at)) for at in range(size)]
    if "items" in first or "items" in second:
        merged["items"] = _both(first.get("items", True), second.get("items", True))


def _item(schema: Any, at: int) -> Any:
    prefix = schema.get("prefixItems", ())
    return prefix[at] if at < len(prefix) else schema.get("items", True)


def _both(first: Any, second: Any) -> Any:
    if first is True or second is True or equal(first, second):
        return second if first is True else first
    if first is False or second is False:
        return False
    return {"allOf": [first, second]}


def _types(first: Any, second: Any, where: str) -> Any:
    left, right = ([one] if isinstance(one, str) else one for one in (first, second))
    kept = [name for name in left if name in right or (name == "integer" and "number" in right)]
    kept += [name for name in right if name == "integer" and "number" in left and name not in kept]
    if "number" in kept and "integer" in kept:
        kept.remove("integer")
    if not kept:
        raise NothingFits(where)
    return kept


def _values(first: Any, second: Any, where: str) -> Any:
    kept = [one for one in first if any(equal(one, other) for other in second)]
    if not kept:
        raise NothingFits(where)
    return kept


def _constants(first: Any, second: Any, where: str) -> Any:
    if not equal(first, second):
        raise NothingFits(where)
    return first


def _branches(first: Any, second: Any, where: str) -> Any:
    if len(first) * len(second) > MOST_BRANCHES:
        raise UnsupportedError(f"two 'anyOf' at {where} make more than {MOST_BRANCHES} cases")
    return [{"allOf": [one, other]} for one in first for other in second]


_JOIN: dict[str, Callable[[Any, Any, str], Any]] = {
    "type": _types,
    "enum": _values,
    "const": _constants,
    "anyOf": _branches,
    "allOf": lambda first, second, _: [*first, *second],
    "required": lambda first, second, _: list(dict.fromkeys((*first, *second))),
    **dict.fromkeys(
        ("minimum", "exclusiveMinimum", "minLength", "minItems"), lambda a, b, _: max(a, b)
    ),
    **dict.fromkeys(
        ("maximum", "exclusiveMaximum", "maxLength", "maxItems"), lambda a, b, _: min(a, b)
    ),
}
