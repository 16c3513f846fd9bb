"""The vectors that stand for tokens where a model begins, read from its file in blocks of rows."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from blazen.errors import MissingExtraError, UnsupportedError
from blazen.weights.gguf import GgufFile, GgufTensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TENSOR = "token_embd.weight"
BLOCK = 16 << 20
"""Bytes of numbers that are held at once while all rows are compared."""


class Stopped(Exception):
    """Nobody waits for the result any more."""


class Rows:
    """The rows of a file's embedding matrix, one for each token."""

    def __init__(self, header: GgufFile) -> None:
        self.tensor = matrix_of(header)
        self.width, self.count = self.tensor.shape
        self._path = header.parts[self.tensor.part] if header.parts else header.path
        self._row_bytes = self.tensor.nbytes // self.count
        self._type = _quantization(self.tensor)

    def row(self, token: int) -> NDArray[np.float32]:
        """Give the vector of one token."""
        with self._path.open("rb") as file:
            vector: NDArray[np.float32] = self._read(file, token, 1)[0]
            return vector

    def nearest(self, token: int, count: int, stopped: threading.Event) -> list[tuple[int, float]]:
        """Give the tokens whose vectors point the same way, with the cosines, the nearest first."""
        import numpy as np

        at_once = max(1, BLOCK // (4 * self.width))
        best: list[tuple[float, int]] = []
        with self._path.open("rb") as file:
            wanted = self._read(file, token, 1)[0]
            length = float(np.linalg.norm(wanted))
            for start in range(0, self.count, at_once):
                if stopped.is_set():
                    raise Stopped
                rows = self._read(file, start, min(at_once, self.count - start))
                lengths = np.linalg.norm(rows, axis=1) * length
                with np.errstate(divide="ignore", invalid="ignore"):
                    cosines = np.where(lengths > 0, rows @ wanted / lengths, -2.0)
                cosines = np.nan_to_num(cosines, nan=-2.0, posinf=-2.0, neginf=-2.0)
                if start <= token < start + len(rows):
                    cosines[token - start] = -3.0  # itself
                few = min(count, len(rows))
                places = np.argpartition(-cosines, few - 1)[:few]
                best += [(-float(cosines[place]), start + int(place)) for place in places]
                best = sorted(best)[:count]
        return [(number, -negative) for negative, number in best if -negative >= -1.5]

    def _read(self, file: BinaryIO, start: int, count: int) -> NDArray[np.float32]:
        import numpy as np
        from gguf.quants import dequantize

        file.seek(self.tensor.offset + start * self._row_bytes)
        data = file.read(count * self._row_bytes)
        if len(data) < count * self._row_bytes:
            raise UnsupportedError(f"{self._path.name} is cut short: fetch it again")
        packed = np.frombuffer(data, np.uint8).reshape(count, self._row_bytes)
        rows: NDArray[np.float32] = dequantize(packed, self._type)
        return rows


def matrix_of(header: GgufFile) -> GgufTensor:
    """Give the tensor that holds the vectors."""
    tensor = next((one for one in header.tensors if one.name == TENSOR), None)
    if tensor is None or len(tensor.shape) != 2 or not tensor.elements:
        raise UnsupportedError(f"{header.path.name} has no vectors of tokens ({TENSOR})")
    if header.byte_order == "big":
        raise UnsupportedError(f"{header.path.name} is written in big-endian order")
    return tensor


def has_vectors(header: GgufFile) -> bool:
    """Say whether a file has vectors that can be read here."""
    try:
        _quantization(matrix_of(header))
    except (UnsupportedError, MissingExtraError):
        return False
    return True


def norm_of(vector: NDArray[np.float32]) -> float:
    """Give the length of a vector."""
    return math.hypot(*vector.tolist())


def _quantization(tensor: GgufTensor) -> Any:
    try:
        import gguf
        from gguf.quants import _type_traits as readable
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "to read vectors needs the package 'gguf': pip install 'blazen[server]'"
        ) from error
    kind = gguf.GGMLQuantizationType.__members__.get(tensor.dtype)
    plain = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
    if kind is None or not (kind in plain or kind in readable):
        raise UnsupportedError(f"vectors of the type {tensor.dtype} can't be read here")
    return kind
