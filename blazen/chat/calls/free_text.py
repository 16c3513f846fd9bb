"""The rule of a grammar for any text that ends with a certain one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blazen.schema import Grammar


def text_before(grammar: Grammar, end: str) -> str:
    """Write the piece that is any text up to an end, and that end."""
    key = f"text before {end}"
    known = grammar.shared.get(key)
    if known is not None:
        return known
    # One rule for each beginning of the end that was just written; a grammar can't look back.
    states = [grammar.reserve("free") for _ in end]
    letters = sorted(set(end))
    for size, state in enumerate(states):
        options = []
        for letter in letters:
            after = _longest_beginning(end[:size] + letter, end)
            piece = grammar.literal(letter)
            options.append(piece if after == len(end) else f"{piece} {states[after]}")
        others = "".join(f"\\U{ord(letter):08X}" for letter in letters)
        options.append(f"[^{others}] {states[0]}")
        grammar.define(state, " | ".join(options))
    grammar.shared[key] = states[0]
    return states[0]


def _longest_beginning(text: str, of: str) -> int:
    for size in range(min(len(text), len(of)), 0, -1):
        if text.endswith(of[:size]):
            return size
    return 0
