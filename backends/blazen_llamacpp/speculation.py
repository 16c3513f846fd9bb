"""Guessing what comes next, so that several tokens are checked in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from blazen_llamacpp.cache import Slot
from blazen_llamacpp.schedule import EXACT

_WORDS = (3, 2)
"""How many tokens must have stood together before, at best and at the least."""


class Drafter(Protocol):
    """Something that guesses; a wrong guess costs time, and never changes an answer."""

    def draft(self, slots: list[Slot], room: Callable[[Slot], int]) -> list[list[int]]:
        """Guess what follows in each slot; ``room`` says how many tokens are of use there."""
        ...

    def forget(self, slot: Slot) -> None:
        """Hear that a slot's tokens are others now."""

    def close(self) -> None:
        """Free what it holds."""


class NoDrafts:
    """Guesses nothing."""

    def draft(self, slots: list[Slot], room: Callable[[Slot], int]) -> list[list[int]]:
        """Guess nothing for each slot."""
        return [[] for _ in slots]

    def forget(self, slot: Slot) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LookupDrafter:
    """Guesses what followed the same words the last time."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._seen: dict[int, Lookup] = {}

    def draft(self, slots: list[Slot], room: Callable[[Slot], int]) -> list[list[int]]:
        """Guess for each slot."""
        most = draft_length(self._length, len(slots))
        return [self._draft(slot, min(most, room(slot))) for slot in slots]

    def forget(self, slot: Slot) -> None:
        """Forget what was seen in a slot."""
        self._seen.pop(slot.number, None)

    def close(self) -> None:
        """Forget everything."""
        self._seen.clear()

    def _draft(self, slot: Slot, count: int) -> list[int]:
        assert slot.request is not None, "only slots in use are guessed for"
        seen = self._seen.setdefault(slot.number, Lookup())
        return seen.follow(slot.request.tokens, count)


class Lookup:
    """Where groups of tokens stood last in a growing text."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], int] = {}
        self._read = 0

    def follow(self, tokens: Sequence[int], count: int) -> list[int]:
        """Give what followed when the text's last tokens stood there before."""
        end = len(tokens)
        for place in range(self._read, end - 1):
            for size in _WORDS:
                if place + 1 >= size:
                    self._places[tuple(tokens[place + 1 - size : place + 1])] = place + 1
        self._read = max(self._read, end - 1)
        for size in _WORDS:
            found = self._places.get(tuple(tokens[end - size :])) if end >= size else None
            if found is not None:
                return list(tokens[found : found + max(count, 0)])
        return []


def draft_length(wanted: int, slots: int) -> int:
    """Say how far to guess for each of so many slots: the more of them, the less it pays.

    All together it is never more than twice ``wanted``, for which the engine has made room, nor so
    much that the engine would calculate in another order: guesses must not change an answer.
    """
    slots = max(slots, 1)
    return max(0, min(wanted, 2 * wanted // slots, (EXACT - 1) // slots - 1))
