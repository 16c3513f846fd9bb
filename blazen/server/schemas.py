"""How large a JSON schema of a request may be: an engine works on a huge one for minutes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from blazen.errors import BlazenError
from blazen.server.refusals import RefusedError

if TYPE_CHECKING:
    from blazen.schema.regex_tree import Node

MOST_WAYS = 1000
MOST_PROPERTIES = 5000
MOST_LETTERS = 120_000
"""All three as in OpenAI's own API: what an engine needs grows with the square of them."""
MOST_OPTIONAL = 2000
"""Each property that may be left out is one more way to go on."""
MOST_BOUNDED = 250
"""A number between bounds is written digit by digit, in a dozen ways."""

MOST_LOOSE = 12
"""Of one pattern: an engine follows every way through ``a?b?c?`` at once, and each doubles them."""

_TEXTS = ("const", "pattern")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def check_schema(schema: Any, param: str) -> None:
    """Refuse a schema that would keep the engine from all others for long."""
    ways = properties = optional = bounded = loose = letters = 0
    for here in _parts(schema):
        listed, named = _list(here, "enum"), here.get("properties")
        ways += len(listed) + len(_list(here, "anyOf")) + len(_list(here, "oneOf"))
        letters += sum(len(value) for value in listed if isinstance(value, str))
        letters += sum(len(here[name]) for name in _TEXTS if isinstance(here.get(name), str))
        if isinstance(here.get("pattern"), str):
            options, repeats = _freedom(here["pattern"])
            ways += options
            loose = max(loose, repeats)
        if isinstance(named, dict):
            properties += len(named)
            optional += max(0, len(named) - len(_list(here, "required")))
            letters += sum(map(len, named))
        bounded += any(isinstance(here.get(name), (int, float)) for name in _BOUNDS)
    for count, most, what in (
        (ways, MOST_WAYS, "values and branches in its enum, anyOf, oneOf and patterns"),
        (properties, MOST_PROPERTIES, "properties"),
        (optional, MOST_OPTIONAL, "properties that are not required"),
        (bounded, MOST_BOUNDED, "numbers with bounds"),
        (loose, MOST_LOOSE, "parts of a pattern that may come more or less often"),
        (letters, MOST_LETTERS, "characters in its names, values and patterns"),
    ):
        if count > most:
            raise RefusedError(
                f"the schema has {count:,} {what}: at most {most:,} are taken", param=param
            )


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    left = [schema]
    while left:
        here = left.pop()
        if isinstance(here, list):
            left += here
        elif isinstance(here, dict):
            left += here.values()
            yield here


def _freedom(pattern: str) -> tuple[int, int]:
    """Count the alternatives of a pattern, and what may come more or less often."""
    from blazen.schema.regex import parse_search

    try:
        return _counted(parse_search(pattern))
    except (BlazenError, RecursionError):
        return 0, 0  # what is wrong with it is said where it is used


def _counted(node: Node) -> tuple[int, int]:
    from blazen.schema.regex_tree import Chain, Choice, Repeat

    if isinstance(node, Repeat):
        options, repeats = _counted(node.body)
        most = node.low if node.high is None else node.high
        return options, repeats * max(1, most) + (node.low != node.high)
    if not isinstance(node, (Chain, Choice)):
        return 0, 0
    parts = node.parts if isinstance(node, Chain) else node.options
    counts = [_counted(part) for part in parts]
    options = len(parts) if isinstance(node, Choice) else 0
    return options + sum(count[0] for count in counts), sum(count[1] for count in counts)


def _list(part: dict[str, Any], name: str) -> list[Any]:
    found = part.get(name)
    return found if isinstance(found, list) else []
