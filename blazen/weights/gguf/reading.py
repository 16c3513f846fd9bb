"""Reading the header of a GGUF file: no engine, no NumPy, nothing of the weights.

A header may come from anywhere, so nothing in it is believed: each count and length is checked
against the size of the file before memory is taken for it, and what no real model needs is refused
(more than 65,536 tensors, 16,384 keys, two million strings, 8 MiB of text, 128 MiB of header).
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Callable
from operator import length_hint
from pathlib import Path
from typing import Any, Literal

from blazen.errors import ValidationError
from blazen.weights.gguf.array import (
    ARRAY_CODES,
    ELEMENT_NAMES,
    STRIDE,
    STRING,
    GgufArray,
    numbers,
    strings,
)
from blazen.weights.gguf.model import GgufFile, GgufTensor
from blazen.weights.gguf.split import read_split
from blazen.weights.gguf.types import TENSOR_TYPES
from blazen.weights.header import Incoming, Readable, looks_like, model_path, open_model_file

MAX_TENSORS = 1 << 16
_MAX_KEYS = 1 << 14
_MAX_STRINGS = 2_000_000
_MAX_TEXT = 8 << 20
_MAX_HEADER = 128 << 20
_MAX_NAME = 1 << 10
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 1 << 63
_SHORT = 1024  # arrays up to here are read at once, as tuples, but for no more than so many bytes
_MAX_SHORTS = 1 << 20
_WINDOW = 1 << 20
_ARRAY = 9
_BOOL = 7
_OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg", b"ggml", b"ggmf", b"ggjt")


def read_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """Read what a GGUF file says about its model; of a split one, any part leads to all."""
    file = read_part(model_path(path))
    return read_split(file, read_part)


def read_part(path: Path) -> GgufFile:
    """Read one file on its own, though it may be a part of several."""
    with open_model_file(path) as (file, size):
        return _Parser(path, file, size).parse()


def read_start(path: Path, more: Callable[[int], bytes], size: int) -> GgufFile:
    """Read the header of a file that comes in, of which no more is taken than its header.

    ``more`` gives the next bytes, up to so many. Of a split model this is the one part alone, and
    long arrays can't be read: the file is not here.
    """
    return _Parser(path, Incoming(more), size).parse()


class _Parser:
    def __init__(self, path: Path, file: Readable, size: int) -> None:
        self.path, self.size = path, size
        self._file = file
        self._at = 0  # where the next value starts in the file
        self._window, self._start = b"", 0  # the bytes at hand, and where they start in the file
        self._strings_left, self._text_left = _MAX_STRINGS, _MAX_TEXT
        self._shorts_left = _MAX_SHORTS
        self._order: Literal["<", ">"] = "<"

    def parse(self) -> GgufFile:
        version = self._version()
        tensor_count, key_count = self._unpack("QQ", "the header")
        # The least that one key (13 bytes) or tensor (24 bytes) takes bounds both counts at once.
        self._check_count("metadata keys", key_count, _MAX_KEYS, 13)
        self._check_count("tensors", tensor_count, MAX_TENSORS, 24)
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self._string("a metadata key", _MAX_NAME)
            if not key or key in metadata:
                raise self._bad(f"the metadata key {key!r} is {'there twice' if key else 'empty'}")
            metadata[key] = self._value(key)
        alignment = self._alignment(metadata.get("general.alignment", 32))
        rows = [self._tensor() for _ in range(tensor_count)]
        data_offset = -(-self._at // alignment) * alignment
        return GgufFile(
            path=self.path,
            version=version,
            metadata=metadata,
            tensors=self._place(rows, alignment, data_offset),
            alignment=alignment,
            data_offset=data_offset,
            size=self.size,
            byte_order="little" if self._order == "<" else "big",
            parts=(self.path,),
        )

    def _version(self) -> int:
        start = self._take(min(8, self.size), "the magic number")
        if start[:4] in _OLD_MAGICS:
            raise self._bad("it is an old GGML file: convert the model to GGUF anew")
        if start[:4] != b"GGUF":
            raise self._bad(looks_like(self._window))
        self._at = 4
        (version,) = self._unpack("I", "the version")
        if version and version & 0xFFFF == 0:
            self._order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version == 1:
            raise self._bad("it is of GGUF version 1, which no engine reads now: convert it anew")
        if version not in (2, 3):
            raise self._bad(f"it is of GGUF version {version}; known are 2 and 3")
        return int(version)

    def _value(self, key: str) -> Any:
        (code,) = self._unpack("I", "the type of a value")
        if code == STRING:
            return self._string(f"the value of {key!r}", _MAX_TEXT)
        if code != _ARRAY:
            letter = ARRAY_CODES.get(code)
            if letter is None:
                raise self._bad(f"{key!r} has a value of the unknown type {code}")
            (value,) = self._unpack(letter, f"the value of {key!r}")
            return self._bool(key, value) if code == _BOOL else value
        code, count = self._unpack("IQ", f"the array {key!r}")
        if code == _ARRAY:
            raise self._bad(f"{key!r} is an array of arrays, which no engine reads")
        if code not in ELEMENT_NAMES:
            raise self._bad(f"{key!r} is an array of the unknown type {code}")
        return self._array(key, code, count)

    def _array(self, key: str, code: int, count: int) -> tuple[Any, ...] | GgufArray:
        start = self._at
        if code == STRING:
            marks = self._skip_strings(key, count)
        else:
            marks = array("Q")
            width = struct.calcsize(ARRAY_CODES[code])
            self._check_count(f"numbers in {key!r}", count, _MAX_HEADER // width, width)
            self._at += count * width
        nbytes = self._at - start
        if count > _SHORT or nbytes > self._shorts_left:
            return GgufArray(
                path=self.path,
                code=code,
                count=count,
                offset=start,
                nbytes=nbytes,
                order=self._order,
                marks=marks,
            )
        self._shorts_left -= nbytes
        self._at = start
        data = self._take(nbytes, f"the array {key!r}")
        try:
            if code == STRING:
                return tuple(strings(data, count, self._order))
            values = numbers(data, code, self._order)
        except ValueError as error:
            raise self._bad(f"the array {key!r} holds text that is not UTF-8") from error
        return tuple(self._bool(key, v) for v in values) if code == _BOOL else tuple(values)

    def _skip_strings(self, key: str, count: int) -> array[int]:
        """Walk over strings and note where every `STRIDE`-th starts."""
        self._check_count(f"strings in {key!r}", count, self._strings_left, 8)
        self._strings_left -= count
        length = struct.Struct(self._order + "Q").unpack_from
        marks = array("Q")
        window, start = self._window, self._start
        at = self._at - start
        for first in range(0, count, STRIDE):
            marks.append(start + at)
            left = min(STRIDE, count - first)
            while left:
                at, left = _walk(length, window, at, left)
                if left:
                    self._at = start + at
                    self._refill(8, f"the strings of {key!r}")
                    window, start, at = self._window, self._start, self._at - self._start
        self._at = start + at
        if self._at > self.size:
            raise self._truncated(f"the strings of {key!r}")
        return marks

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string("the name of a tensor", _MAX_NAME)
        (dimensions,) = self._unpack("I", f"tensor {name!r}")
        if dimensions > _MAX_DIMENSIONS:
            raise self._bad(f"tensor {name!r} has {dimensions} dimensions; at most 4 are possible")
        *shape, code, offset = self._unpack("Q" * dimensions + "IQ", f"tensor {name!r}")
        return name, tuple(shape), code, offset

    def _place(
        self, rows: list[tuple[str, tuple[int, ...], int, int]], alignment: int, data_offset: int
    ) -> tuple[GgufTensor, ...]:
        """Check where tensors lie; the bytes of an unknown type reach up to the next tensor."""
        order = sorted(range(len(rows)), key=lambda index: rows[index][3])
        tensors: dict[int, GgufTensor] = {}
        names: set[str] = set()
        following = self.size - data_offset
        for index in reversed(order):
            name, shape, code, offset = rows[index]
            if not name or name in names:
                raise self._bad(f"tensor name {name!r} is {'there twice' if name else 'empty'}")
            names.add(name)
            if offset % alignment:
                raise self._bad(f"tensor {name!r} lies at {offset}, no multiple of {alignment}")
            dtype, nbytes = self._bytes(name, shape, code, following - offset)
            if offset + nbytes > following:
                end = data_offset + offset + nbytes
                if end > self.size:
                    raise self._bad(
                        f"tensor {name!r} ends at byte {end:,}, but the file has {self.size:,}: "
                        "the download may be incomplete, fetch it again"
                    )
                raise self._bad(f"tensor {name!r} overlaps the one behind it")
            following = offset if nbytes else following
            tensors[index] = GgufTensor(name, shape, dtype, data_offset + offset, nbytes)
        return tuple(tensors[index] for index in range(len(rows)))

    def _bytes(self, name: str, shape: tuple[int, ...], code: int, room: int) -> tuple[str, int]:
        elements = 1
        for length in shape:
            elements *= length
        if elements >= _MAX_ELEMENTS:
            raise self._bad(f"tensor {name!r} has the impossible shape {list(shape)}")
        known = TENSOR_TYPES.get(code)
        if known is None:
            return f"unknown-{code}", max(room, 0)
        dtype, block, width = known
        if (shape[0] if shape else 1) % block:
            raise self._bad(
                f"tensor {name!r} has rows of {shape[0] if shape else 1} elements, "
                f"but {dtype} comes in blocks of {block}"
            )
        return dtype, elements // block * width

    def _alignment(self, value: Any) -> int:
        if type(value) is not int or value <= 0 or value & (value - 1) or value >= 1 << 32:
            raise self._bad(f"general.alignment must be a power of two, not {value!r:.40}")
        return value

    def _string(self, what: str, longest: int) -> str:
        (length,) = self._unpack("Q", what)
        self._text_left -= length
        if length > longest or self._text_left < 0:
            if length > self.size - self._at:
                raise self._truncated(what, length)
            raise self._bad(f"{what} is {length:,} bytes long, more than is read")
        try:
            return self._take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._bad(f"{what} is not UTF-8") from error

    def _bool(self, key: str, value: int) -> bool:
        if value > 1:
            raise self._bad(f"{key!r} must be true or false, not {value}")
        return bool(value)

    def _unpack(self, letters: str, what: str) -> tuple[Any, ...]:
        reader = _struct(self._order + letters)
        at = self._at - self._start
        if at + reader.size > len(self._window):
            self._refill(reader.size, what)
            at = 0
        self._at += reader.size
        return reader.unpack_from(self._window, at)

    def _take(self, count: int, what: str) -> bytes:
        at = self._at - self._start
        if at + count > len(self._window):
            self._refill(count, what)
            at = 0
        self._at += count
        return self._window[at : at + count]

    def _refill(self, count: int, what: str) -> None:
        """Bring the bytes from here on into the window, at least so many."""
        if self._at + count > self.size:
            raise self._truncated(what, count)
        if self._at + count > _MAX_HEADER:
            raise self._bad(f"its header goes on after {_MAX_HEADER >> 20} MiB, more than is read")
        self._file.seek(self._at)
        self._window, self._start = self._file.read(max(count, _WINDOW)), self._at
        if len(self._window) < count:
            raise self._truncated(what, count)

    def _check_count(self, what: str, count: int, most: int, width: int) -> None:
        if count > (self.size - self._at) // width:
            raise self._bad(f"it claims {count:,} {what}, more than its {self.size:,} bytes hold")
        if count > most:
            raise self._bad(f"it claims {count:,} {what}; at most {most:,} are read")

    def _truncated(self, what: str, count: int = 0) -> ValidationError:
        wanted = f"{count:,} bytes of {what}" if count else what
        return self._bad(
            f"it ends at byte {self.size:,} inside {wanted}: "
            "the download may be incomplete, fetch it again"
        )

    def _bad(self, problem: str) -> ValidationError:
        return ValidationError(f"{self.path} is no GGUF file that can be read: {problem}")


def _walk(
    length: Callable[[bytes, int], tuple[Any, ...]], window: bytes, at: int, count: int
) -> tuple[int, int]:
    """Walk over strings until the window is used up; give the place, and how many are left."""
    left = iter(range(count))
    try:
        # Most of the time that a header takes goes here, so unpack_from's own check of the bounds
        # is the only one.
        for _ in left:
            at += length(window, at)[0] + 8
    except (struct.error, OverflowError):
        return at, length_hint(left) + 1
    return at, 0


_STRUCTS: dict[str, struct.Struct] = {}


def _struct(letters: str) -> struct.Struct:
    known = _STRUCTS.get(letters)
    if known is None:
        known = _STRUCTS[letters] = struct.Struct(letters)
    return known
