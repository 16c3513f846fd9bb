"""Which of the engine's slots a request goes to: the one that has read most of it already."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Slots:
    """The engine's places for requests, each with the prompt that it has read last.

    The engine could choose by itself. But a long prompt is handed over in pieces, and between two
    of them the engine would give its slot, and so what was read, to another request.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = list(range(count))  # the one that was used longest ago comes first
        self._read = [""] * count

    @property
    def alone(self) -> bool:
        """Whether there is but one."""
        return len(self._read) == 1

    @property
    def others(self) -> bool:
        """Whether another request is answered beside the one that asks."""
        return len(self._read) - len(self._free) > 1

    @contextlib.contextmanager
    def take(self, prompt: str) -> Iterator[int]:
        """Have a slot for one request; there is one, since no more run at once than there are."""
        with self._lock:
            slot = max(self._free, key=lambda slot: self._shared(slot, prompt))
            self._free.remove(slot)
            self._read[slot] = prompt
        try:
            yield slot
        finally:
            with self._lock:
                self._free.append(slot)

    def _shared(self, slot: int, prompt: str) -> int:
        """Give how long the beginning is that both prompts share.

        A small part counts as none: for that a conversation's whole past is not overwritten.
        """
        read = self._read[slot]
        same = _shared_length(read, prompt)
        return same if read and same * 10 > len(prompt) else -1 if read else 0


def _shared_length(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low
