"""The long arrays of a GGUF header, such as a vocabulary: read when they are touched."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from blazen.errors import ValidationError
from blazen.weights.header import open_model_file

STRING = 8
STRIDE = 1024
"""Every so many strings their place is known, so that one string costs no walk over all."""

ELEMENT_NAMES = {
    0: "uint8",
    1: "int8",
    2: "uint16",
    3: "int16",
    4: "uint32",
    5: "int32",
    6: "float32",
    7: "bool",
    8: "string",
    10: "uint64",
    11: "int64",
    12: "float64",
}
ARRAY_CODES = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "B",
    10: "Q",
    11: "q",
    12: "d",
}


class GgufArray(Sequence[Any]):
    """A long array that stays in its file: ``len`` is free, elements are read from the disk."""

    __slots__ = ("_code", "_count", "_marks", "_nbytes", "_offset", "_order", "path")

    def __init__(
        self,
        *,
        path: Path,
        code: int,
        count: int,
        offset: int,
        nbytes: int,
        order: Literal["<", ">"],
        marks: array[int],
    ) -> None:
        self.path = path
        self._code, self._count = code, count
        self._offset, self._nbytes = offset, nbytes
        self._order, self._marks = order, marks

    @property
    def element_type(self) -> str:
        """What it holds: ``string``, ``float32``, ``int32`` and so on."""
        return ELEMENT_NAMES[self._code]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(f"index {index} of an array of {self._count}")
        if self._code == STRING:
            return self._block(index // STRIDE)[index % STRIDE]
        width = self._nbytes // self._count
        return self._numbers(self._offset + index * width, width)[0]

    def __iter__(self) -> Iterator[Any]:
        if self._code != STRING:
            yield from self._numbers(self._offset, self._nbytes)
            return
        for block in range(len(self._marks)):
            yield from self._block(block)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # how Python spells "compares by content"

    def __repr__(self) -> str:
        return f"<{self._count:,} × {self.element_type}>"

    def to_dict(self) -> dict[str, Any]:
        """Give what it is, without its content: ``list(array)`` gives that."""
        return {"array": self.element_type, "count": self._count}

    def _block(self, number: int) -> list[str]:
        start = self._marks[number]
        last = number + 1 == len(self._marks)
        end = self._offset + self._nbytes if last else self._marks[number + 1]
        count = min(STRIDE, self._count - number * STRIDE)
        try:
            return strings(self._read(start, end - start), count, self._order)
        except UnicodeDecodeError as error:
            raise ValidationError(
                f"{self.path} holds an array with text that is not UTF-8 (near {number * STRIDE})"
            ) from error
        except struct.error as error:
            raise self._changed() from error

    def _numbers(self, start: int, nbytes: int) -> list[Any] | array[Any]:
        values = numbers(self._read(start, nbytes), self._code, self._order)
        return [bool(value) for value in values] if self.element_type == "bool" else values

    def _read(self, start: int, nbytes: int) -> bytes:
        with open_model_file(self.path) as (file, _):
            file.seek(start)
            data = file.read(nbytes)
        if len(data) < nbytes:
            raise self._changed()
        return data

    def _changed(self) -> ValidationError:
        return ValidationError(f"{self.path} changed after it was read: read it again")


def strings(data: bytes, count: int, order: Literal["<", ">"]) -> list[str]:
    """Decode strings that lie one behind the other."""
    length = struct.Struct(order + "Q").unpack_from
    at = 0
    out = []
    for _ in range(count):
        start = at + 8
        at = start + length(data, at)[0]
        out.append(data[start:at].decode("utf-8"))
    return out


def numbers(data: bytes, code: int, order: Literal["<", ">"]) -> array[Any]:
    """Decode numbers that lie one behind the other."""
    values: array[Any] = array(ARRAY_CODES[code], data)
    if (order == "<") != (sys.byteorder == "little"):
        values.byteswap()
    return values
