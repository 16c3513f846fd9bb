"""A small model that guesses for a large one of the same vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from blazen.errors import UnsupportedError
from blazen_llamacpp.batch import Batch
from blazen_llamacpp.cache import Slot
from blazen_llamacpp.library import load_library
from blazen_llamacpp.schedule import common_prefix
from blazen_llamacpp.speculation import draft_length
from blazen_llamacpp.threads import Threads
from blazen_llamacpp.vocabulary import Vocabulary

_COMPARED = 1000


class ModelDrafter:
    """Guesses by a model of its own, which reads along. Who opened its context closes it."""

    def __init__(
        self, context: Any, *, slots: int, batch: int, length: int, threads: Threads
    ) -> None:
        self._library = library = load_library()
        self._context = context
        self._threads = threads
        self._memory = library.llama_get_memory(context)
        self._batch, self._size, self._length = Batch(batch, slots), batch, length
        self._known: list[list[int]] = [[] for _ in range(slots)]
        self._sampler = library.llama_sampler_init_greedy()

    def draft(self, slots: list[Slot], room: Callable[[Slot], int]) -> list[list[int]]:
        """Guess for the slots that it has caught up with."""
        most = draft_length(self._length, len(slots))
        counts = {slot.number: min(most, room(slot)) for slot in slots}
        guesses: dict[int, list[int]] = {slot.number: [] for slot in slots}
        places = self._catch_up([slot for slot in slots if counts[slot.number] > 0])
        while places:
            for number, place in places.items():
                guesses[number].append(
                    self._library.llama_sampler_sample(self._sampler, self._context, place)
                )
            self._batch.clear()
            going = [n for n in places if len(guesses[n]) < counts[n]]
            places = {n: self._add(n, guesses[n][-1:], outputs=1) for n in going}
            if places and not self._decode():
                break
        return [guesses[slot.number] for slot in slots]

    def forget(self, slot: Slot) -> None:
        """Forget a slot."""
        self._cut(slot.number, 0)

    def close(self) -> None:
        """Free what it chooses by."""
        self._library.llama_sampler_free(self._sampler)

    def _catch_up(self, slots: list[Slot]) -> dict[int, int]:
        """Read what came since, a batch at the most; give where the next tokens can be had."""
        self._batch.clear()
        places = {}
        for slot in slots:
            assert slot.request is not None, "only slots in use are guessed for"
            tokens, number = slot.request.tokens, slot.number
            # Of what it guessed itself some did not come; the last token's output is needed anew.
            self._cut(number, common_prefix(self._known[number], tokens[:-1]))
            start = len(self._known[number])
            part = tokens[start : start + self._size - self._batch.count]
            if not part:
                continue
            whole = start + len(part) == len(tokens)
            place = self._add(number, part, outputs=int(whole))
            if whole:
                places[number] = place
        return places if self._batch.count and self._decode() else {}

    def _add(self, number: int, tokens: list[int], *, outputs: int) -> int:
        known = self._known[number]
        first = self._batch.add(number, tokens, len(known), outputs=outputs)
        known.extend(tokens)
        return first + len(tokens) - 1

    def _decode(self) -> bool:
        self._threads.apply(self._context)
        if self._batch.decode(self._context) == 0:
            return True
        # No room, most likely: it begins anew, and until then the large model does without it.
        self._library.llama_memory_clear(self._memory, False)
        for known in self._known:
            known.clear()
        return False

    def _cut(self, number: int, length: int) -> None:
        known = self._known[number]
        if len(known) <= length:
            return
        if length and self._library.llama_memory_seq_rm(self._memory, number, length, -1):
            del known[length:]
        else:
            self._library.llama_memory_seq_rm(self._memory, number, -1, -1)
            known.clear()


def check_vocabularies(large: Vocabulary, small: Vocabulary, path: Path) -> None:
    """Refuse a model whose guesses would be other tokens."""
    step = max(1, large.size // _COMPARED)
    if large.size != small.size or any(
        large.piece(token) != small.piece(token) for token in range(0, large.size, step)
    ):
        raise UnsupportedError(
            f"{path.name} has another vocabulary than the model it is to draft for: take a small "
            "model of the same family"
        )
