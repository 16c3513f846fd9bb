"""What the model remembers: the sequences of a context, and the tokens that each holds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from blazen_llamacpp.library import load_library
from blazen_llamacpp.schedule import Held, cells_used, choose_forgotten, choose_place

if TYPE_CHECKING:
    from blazen_llamacpp.request import Request

_UNLIMITED = 1 << 60


class Slot:
    """One sequence: in use by a request, or idle with what the last one left."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.request: Request | None = None
        self.cells: list[int] = []
        """The names of the cells that it holds; those of a shared beginning are shared."""
        self.left: list[int] = []
        self.sound = _UNLIMITED
        """How many of its first cells know no text but the one before them; see `Cache.shift`."""
        self.used_at = 0

    @property
    def tokens(self) -> list[int]:
        """The tokens that its cells hold, as far as they are of use to others."""
        if self.request is None:
            return self.left
        return self.request.tokens[: min(len(self.cells), self.sound)]


class Cache:
    """The sequences of a context, which share its cells."""

    def __init__(self, context: Any, slots: int, *, can_cut: bool, counts_cells: bool) -> None:
        self._library = load_library()
        self._memory = self._library.llama_get_memory(context)
        self._capacity = self._library.llama_n_ctx(context) if counts_cells else _UNLIMITED
        self._can_cut = can_cut
        self._names = itertools.count()
        self._clock = itertools.count(1)
        self.slots = [Slot(number) for number in range(slots)]

    @property
    def room(self) -> int:
        """How many cells are free."""
        return self._capacity - cells_used((s.cells for s in self.slots), self._capacity)

    @property
    def spare(self) -> int:
        """How many cells are free, or can be had by forgetting what no one uses."""
        busy = (s.cells for s in self.slots if s.request is not None)
        return self._capacity - cells_used(busy, self._capacity)

    @property
    def can_shift(self) -> bool:
        """Whether what it holds can move to other positions."""
        return self._can_cut and bool(self._library.llama_memory_can_shift(self._memory))

    def prepare(self, prompt: list[int]) -> Slot | None:
        """Give an idle slot that holds as much of the prompt's beginning as there is."""
        place = choose_place(self._held(), prompt, can_cut=self._can_cut)
        if place is None:
            return None
        slot = self.slots[place.sequence]
        if place.source == place.sequence:
            self.cut(slot, place.shared)
        else:
            source = self.slots[place.source]
            self.forget(slot)
            self._library.llama_memory_seq_cp(
                self._memory, source.number, slot.number, 0, place.shared
            )
            slot.cells = source.cells[: place.shared]
            slot.left = source.tokens[: place.shared]
        return slot

    def grow(self, slot: Slot, count: int) -> None:
        """Note that the engine has read tokens."""
        slot.cells.extend(itertools.islice(self._names, count))

    def release(self, slot: Slot) -> None:
        """Keep what a request leaves, for one that begins alike."""
        slot.left = slot.tokens
        slot.request = None
        slot.used_at = next(self._clock)
        self.cut(slot, len(slot.left))
        slot.sound = _UNLIMITED

    def cut(self, slot: Slot, length: int) -> None:
        """Forget what comes after so many tokens; where that can't be, all of it."""
        if len(slot.cells) <= length:
            return
        if length == 0 or not self._library.llama_memory_seq_rm(
            self._memory, slot.number, length, -1
        ):
            self.forget(slot)
            return
        del slot.cells[length:]
        del slot.left[length:]

    def roll_back(self, slot: Slot) -> None:
        """Forget what a step left behind that failed."""
        length = len(slot.cells)
        if not self._library.llama_memory_seq_rm(self._memory, slot.number, length, -1):
            self.forget(slot)

    def forget(self, slot: Slot) -> None:
        """Forget all that a slot holds."""
        self._library.llama_memory_seq_rm(self._memory, slot.number, -1, -1)
        slot.cells = []
        slot.left = []
        slot.sound = _UNLIMITED

    def forget_all(self) -> None:
        """Forget everything."""
        self._library.llama_memory_clear(self._memory, False)
        for slot in self.slots:
            slot.cells = []
            slot.left = []
            slot.sound = _UNLIMITED

    def forget_oldest(self, keep: Slot | None = None) -> bool:
        """Forget the idle slot unused for longest; false where there is none."""
        number = choose_forgotten(self._held(), () if keep is None else (keep.number,))
        if number is None:
            return False
        self.forget(self.slots[number])
        return True

    def shift(self, slot: Slot, start: int, end: int) -> None:
        """Forget tokens in the middle; the later ones move up where they can, else go too.

        Those that moved were read by a model that still knew what is forgotten: for the same text
        without it, in another request, they are wrong.
        """
        names = set(slot.cells[start:])
        shared = any(names & set(s.cells) for s in self.slots if s is not slot)
        # A cell has one position for all who share it.
        if shared or not self.can_shift:
            self.cut(slot, start)
            return
        self._library.llama_memory_seq_rm(self._memory, slot.number, start, end)
        self._library.llama_memory_seq_add(self._memory, slot.number, end, -1, start - end)
        del slot.cells[start:end]
        slot.sound = min(slot.sound, start)

    def _held(self) -> list[Held]:
        return [Held(s.tokens, s.request is not None, s.used_at) for s in self.slots]
