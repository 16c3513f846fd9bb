"""The regular expressions that every engine can be held to: parsed once, then one meaning for all.

Engines disagree about regular expressions: whether ``\\d`` takes every script's digits, whether
``.`` takes a carriage return. So a pattern is read into a small tree, and whatever an engine gets
(a grammar, or a pattern again) is written from the tree, as is the check of what the engine gave.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from blazen.errors import UnsupportedError
from blazen.schema.matching import matches
from blazen.schema.regex_reader import Reader
from blazen.schema.regex_tree import (
    ANY_TEXT,
    Chain,
    Choice,
    Edge,
    Node,
    Repeat,
    joined,
    write_regex,
)

_MOST_CHARACTERS = 5_000


def full_match(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches a text from its first character to its last."""
    return matches(parse_regex(pattern), text)


def search(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches somewhere in a text, as the ``pattern`` of a schema does."""
    return matches(parse_search(pattern), text)


def plain_regex(pattern: str) -> str:
    """Write a pattern anew, so that Python, Rust and JavaScript take it to mean the same."""
    return write_regex(parse_regex(pattern))


@functools.cache
def quick_match(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Give a faster `full_match`, for blazen's own patterns alone: some others never end."""
    return re.compile(plain_regex(pattern)).fullmatch


@functools.lru_cache(maxsize=256)
def parse_regex(pattern: str) -> Node:
    """Read a pattern that must match a whole text."""
    return joined([inner for _, inner, _ in _alternatives(pattern)])


@functools.lru_cache(maxsize=256)
def parse_search(pattern: str) -> Node:
    """Read a pattern that may match anywhere; the tree is of the whole text around it."""
    whole: list[Node] = []
    for at_start, inner, at_end in _alternatives(pattern):
        before = () if at_start else (ANY_TEXT,)
        after = () if at_end else (ANY_TEXT,)
        whole.append(Chain((*before, inner, *after)))
    return joined(whole)


def _alternatives(pattern: str) -> list[tuple[bool, Node, bool]]:
    if len(pattern) > _MOST_CHARACTERS:
        raise UnsupportedError(
            f"a regular expression of {len(pattern):,} characters is too long: "
            f"at most {_MOST_CHARACTERS:,}"
        )
    tree = Reader(pattern).whole()
    options = tree.options if isinstance(tree, Choice) else (tree,)
    return [_cut_anchors(option, pattern) for option in options]


def _cut_anchors(option: Node, pattern: str) -> tuple[bool, Node, bool]:
    parts = list(option.parts) if isinstance(option, Chain) else [option]
    at_start = bool(parts) and parts[0] == Edge("^")
    parts = parts[1:] if at_start else parts
    at_end = bool(parts) and parts[-1] == Edge("$")
    parts = parts[:-1] if at_end else parts
    inner = parts[0] if len(parts) == 1 else Chain(tuple(parts))
    _refuse_anchors(inner, pattern)
    return at_start, inner, at_end


def _refuse_anchors(node: Node, pattern: str) -> None:
    if isinstance(node, Edge):
        raise UnsupportedError(
            f"the anchor {node.side!r} may stand only at an end of the regular expression "
            f"{pattern!r:.80}"
        )
    if isinstance(node, Repeat):
        _refuse_anchors(node.body, pattern)
    if isinstance(node, (Chain, Choice)):
        for part in node.parts if isinstance(node, Chain) else node.options:
            _refuse_anchors(part, pattern)
