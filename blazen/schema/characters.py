"""Sets of characters, as ranges of their numbers; half characters (surrogates) are in none."""

from __future__ import annotations

from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]

ANYTHING: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))


def only(characters: str) -> Ranges:
    """Give the set of just these."""
    return union(tuple((ord(one), ord(one)) for one in characters))


def union(*sets: Ranges) -> Ranges:
    """Give the set of what is in any of these: in order, with nothing twice."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for ranges in sets for pair in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Give the set of all other characters."""
    gaps: list[tuple[int, int]] = []
    after = 0
    for low, high in union(ranges, ((0xD800, 0xDFFF),)):
        if low > after:
            gaps.append((after, low - 1))
        after = high + 1
    if after <= 0x10FFFF:
        gaps.append((after, 0x10FFFF))
    return tuple(gaps)


def common(first: Ranges, second: Ranges) -> Ranges:
    """Give the set of what is in both."""
    return complement(union(complement(first), complement(second)))


DIGITS: Ranges = ((0x30, 0x39),)
WORDS: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACES: Ranges = ((0x09, 0x0D), (0x20, 0x20))
