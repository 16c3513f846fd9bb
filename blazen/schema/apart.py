"""What only a look at a whole schema shows: loops without end, and branches that overlap."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from blazen.schema.value import fits

_DEEPEST = 8


def find_loop(schema: dict[str, Any]) -> str | None:
    """Give a definition that leads to itself through references alone, or ``None``."""
    definitions = schema.get("$defs", {})
    done: set[str] = set()

    def visit(part: dict[str, Any], path: tuple[str, ...]) -> str | None:
        if "$ref" in part:
            pointer = part["$ref"]
            if pointer in path:
                return str(pointer)
            if pointer in done:
                return None
            found = visit(definitions[pointer.removeprefix("#/$defs/")], (*path, pointer))
            done.add(pointer)
            return found
        for branch in part.get("anyOf", ()):
            if found := visit(branch, path):
                return found
        return None

    for name, definition in definitions.items():
        if found := visit(definition, (f"#/$defs/{name}",)):
            return found
    return None


def can_end(schema: dict[str, Any]) -> str | None:
    """Give a definition that no finite value fits, or ``None`` if all have one."""
    definitions = schema.get("$defs", {})
    ending: set[str] = set()

    def ends(part: Any) -> bool:
        if "$ref" in part:
            return part["$ref"] in ending
        if "anyOf" in part:
            return any(map(ends, part["anyOf"]))
        if part.get("type") == "object":
            return all(ends(part["properties"][name]) for name in part.get("required", ()))
        if part.get("type") == "array":
            low = part.get("minItems", 0)
            prefix = part.get("prefixItems", [])
            return all(map(ends, prefix[:low])) and (low <= len(prefix) or ends(part["items"]))
        return True

    found = True
    while found:
        fresh = {
            f"#/$defs/{name}"
            for name, part in definitions.items()
            if f"#/$defs/{name}" not in ending and ends(part)
        }
        ending |= fresh
        found = bool(fresh)
    return next((f"#/$defs/{n}" for n in definitions if f"#/$defs/{n}" not in ending), None)


def overlap(branches: list[dict[str, Any]], definitions: dict[str, Any]) -> tuple[int, int] | None:
    """Give two branches of which one may write what fits the other too, or ``None``."""
    for first, second in permutations(range(len(branches)), 2):
        if not _apart(branches[first], branches[second], definitions, 0):
            return min(first, second), max(first, second)
    return None


def _apart(written: Any, other: Any, definitions: dict[str, Any], depth: int) -> bool:
    """Tell whether nothing that is written for the one schema can fit the other."""
    if depth > _DEEPEST:
        return False
    if "$ref" in written:
        written = definitions[written["$ref"].removeprefix("#/$defs/")]
        return bool(written) and _apart(written, other, definitions, depth + 1)
    if "$ref" in other:
        other = definitions[other["$ref"].removeprefix("#/$defs/")]
        return bool(other) and _apart(written, other, definitions, depth + 1)
    if "anyOf" in written:
        return all(_apart(one, other, definitions, depth + 1) for one in written["anyOf"])
    if "anyOf" in other:
        return all(_apart(written, one, definitions, depth + 1) for one in other["anyOf"])
    if "enum" in written:
        root = {"$defs": definitions}
        return not any(_may_fit(value, other, root) for value in written["enum"])
    if "enum" in other:
        root = {"$defs": definitions}
        return not any(_may_fit(value, written, root) for value in other["enum"])
    if "type" not in written or "type" not in other:
        return False
    types = {written["type"], other["type"]}
    if len(types) == 2:
        return types != {"integer", "number"}
    if types == {"object"}:
        return _objects_apart(written, other, definitions, depth)
    return types <= {"integer", "number"} and _numbers_apart(written, other)


def _may_fit(value: Any, schema: Any, root: Any) -> bool:
    # As it was given, an object may have more than it names: only what it names can tell.
    return fits(value, _opened(schema), root)


def _opened(schema: Any) -> Any:
    if schema.get("type") != "object":
        return schema
    return {key: value for key, value in schema.items() if key != "additionalProperties"}


def _objects_apart(written: Any, other: Any, definitions: dict[str, Any], depth: int) -> bool:
    mine, theirs = written["properties"], other["properties"]
    closed = written["additionalProperties"] is False
    for name in other.get("required", ()):
        if name not in mine and closed:
            return True
    sure = set(written.get("required", ()))
    return any(
        _apart(mine[name], theirs[name], definitions, depth + 1) for name in sure if name in theirs
    )


def _numbers_apart(first: Any, second: Any) -> bool:
    lows = [max(_all(one, "minimum", "exclusiveMinimum"), default=None) for one in (first, second)]
    highs = [min(_all(one, "maximum", "exclusiveMaximum"), default=None) for one in (first, second)]
    for low, high in ((lows[0], highs[1]), (lows[1], highs[0])):
        if low is not None and high is not None and low > high:
            return True
    return False


def _all(schema: Any, *names: str) -> list[Any]:
    return [schema[name] for name in names if name in schema]
