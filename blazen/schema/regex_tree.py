"""What a regular expression says, as a tree; and what can be told and written from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from blazen.errors import UnsupportedError
from blazen.schema.characters import ANYTHING, Ranges

_MOST_OPTIONAL = 50


@dataclass(frozen=True)
class Chars:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Chain:
    """One part after another; without parts, nothing at all."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of several."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """The body, at least ``low`` times and at most ``high`` (``None``: any number of) times."""

    body: Node
    low: int
    high: int | None


@dataclass(frozen=True)
class Edge:
    """An anchor; it stands only at the ends of a whole alternative."""

    side: Literal["^", "$"]


Node: TypeAlias = Chars | Chain | Choice | Repeat | Edge
NOTHING = Chain(())
ANY_TEXT = Repeat(Chars(ANYTHING), 0, None)


def write_regex(node: Node) -> str:
    """Write a tree as a pattern."""
    if isinstance(node, Chars):
        return _write_class(node.ranges)
    if isinstance(node, Chain):
        return "".join(
            f"(?:{write_regex(part)})" if isinstance(part, Choice) else write_regex(part)
            for part in node.parts
        )
    if isinstance(node, Choice):
        return "|".join(map(write_regex, node.options))
    assert isinstance(node, Repeat)
    body = write_regex(node.body)
    if not isinstance(node.body, Chars):
        body = f"(?:{body})"
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((node.low, node.high))
    if short is None:
        high = "" if node.high is None else node.high
        short = f"{{{node.low}}}" if node.low == high else f"{{{node.low},{high}}}"
    return body + short


def lengths(node: Node) -> tuple[int, int | None]:
    """Tell how many characters the shortest and the longest match have."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Repeat):
        low, high = lengths(node.body)
        unbounded = high is None or (node.high is None and high > 0)
        return low * node.low, None if unbounded else (high or 0) * (node.high or 0)
    if isinstance(node, Edge):
        return 0, 0
    inner = [lengths(part) for part in (node.parts if isinstance(node, Chain) else node.options)]
    lows, highs = [low for low, _ in inner], [high for _, high in inner]
    if isinstance(node, Choice):
        return min(lows), None if None in highs else max(high or 0 for high in highs)
    return sum(lows), None if None in highs else sum(high or 0 for high in highs)


def without_nothing(node: Node) -> Node | None:
    """Give the tree of all matches but the empty one; ``None`` if there is no other.

    A grammar can't repeat what may be nothing: it would go on for ever without a character.
    """
    if lengths(node)[0] > 0:
        return node
    if isinstance(node, Choice):
        options = [kept for option in node.options if (kept := without_nothing(option)) is not None]
        return joined(options) if options else None
    if isinstance(node, Repeat):
        body = without_nothing(node.body)
        return None if body is None or node.high == 0 else Repeat(body, 1, node.high)
    assert isinstance(node, Chain)  # every part of it may be nothing: one of them is not
    if len(node.parts) > _MOST_OPTIONAL:
        raise UnsupportedError(
            f"a repetition of more than {_MOST_OPTIONAL} parts that may all be left out"
        )
    ways: list[Node] = [
        Chain((kept, *node.parts[at + 1 :]))
        for at, part in enumerate(node.parts)
        if (kept := without_nothing(part)) is not None
    ]
    return joined(ways) if ways else None


def joined(options: list[Node]) -> Node:
    """Give one of these, or the only one."""
    return options[0] if len(options) == 1 else Choice(tuple(options))


def _write_class(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _write_character(ranges[0][0])
    inside = "".join(
        _write_character(low)
        if low == high
        else f"{_write_character(low)}-{_write_character(high)}"
        for low, high in ranges
    )
    return f"[{inside}]"


def _write_character(code: int) -> str:
    character = chr(code)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\{character}" if character in r"\.^$|?*+()[]{}-&~#" else character
