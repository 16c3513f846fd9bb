"""The tokens of one step, in the arrays that llama.cpp reads; made once and filled anew."""

from __future__ import annotations

import ctypes
from typing import Any

from blazen_llamacpp.library import load_library


class Batch:
    """Room for the tokens of one step."""

    def __init__(self, size: int, sequences: int) -> None:
        self._library = library = load_library()
        self._token = (ctypes.c_int32 * size)()
        self._position = (ctypes.c_int32 * size)()
        self._wanted = (ctypes.c_int8 * size)()
        self._ones = (ctypes.c_int32 * size)(*[1] * size)
        # Each token points to the list of its sequences, which here is always a list of one.
        self._numbers = (ctypes.c_int32 * sequences)(*range(sequences))
        width, start = ctypes.sizeof(ctypes.c_int32), ctypes.addressof(self._numbers)
        self._addresses = [start + number * width for number in range(sequences)]
        self._sequence = (ctypes.c_void_p * size)()
        whole = ctypes.POINTER(ctypes.c_int32)
        self._native = library.llama_batch(
            0,
            ctypes.cast(self._token, whole),
            None,
            ctypes.cast(self._position, whole),
            ctypes.cast(self._ones, whole),
            ctypes.cast(self._sequence, ctypes.POINTER(whole)),
            ctypes.cast(self._wanted, ctypes.POINTER(ctypes.c_int8)),
        )
        self.count = 0

    def clear(self) -> None:
        """Begin a new step."""
        self.count = 0

    def add(self, sequence: int, tokens: list[int], start: int, *, outputs: int) -> int:
        """Add tokens of a sequence from a position on; give the place of the first one.

        Of the last ``outputs`` tokens the engine will say what may follow them.
        """
        first, size = self.count, len(tokens)
        end = self.count = first + size
        self._token[first:end] = list(tokens)
        self._position[first:end] = list(range(start, start + size))
        self._sequence[first:end] = [self._addresses[sequence]] * size
        self._wanted[first:end] = [*[0] * (size - outputs), *[1] * outputs]
        return first

    def decode(self, context: Any) -> int:
        """Run the model over it; 0 is success, 1 no room, 2 aborted, less than 0 a failure."""
        self._native.n_tokens = self.count
        result: int = self._library.llama_decode(context, self._native)
        return result
