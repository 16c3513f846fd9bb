"""What a ggml file of Whisper says of itself, read before the engine sees it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blazen.errors import LoadError

_MAGIC = 0x67676D6C
_OTHERS = {
    b"GGUF": "a GGUF file, as llama.cpp reads it",
    b"PK\x03\x04": "a PyTorch or NumPy archive",
    b"ggjt": "an old ggml file for llama.cpp",
    b"\x80\x02": "a Python pickle",
    b"RIFF": "a sound",
    b"\x08\x07": "an ONNX file",
    b"\x08\x08": "an ONNX file",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"vers": "a pointer of Git LFS: its file was never fetched",
}
_LIMITS = (1 << 20, 1 << 16, 1 << 14, 1 << 10, 1 << 10, 1 << 16, 1 << 14, 1 << 10, 1 << 10, 1 << 10)
# For each type of tensor, how many numbers make a block, and the bytes of one.
_TYPES = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    30: (1, 2),
}
_LONGEST_NAME = 256
_LONGEST_TOKEN = 4096


@dataclass(frozen=True)
class Shape:
    """The sizes of a Whisper."""

    file_bytes: int
    vocabulary: int
    audio_context: int
    audio_width: int
    audio_heads: int
    audio_layers: int
    text_context: int
    text_width: int
    text_heads: int
    text_layers: int
    mel_bands: int

    @property
    def is_multilingual(self) -> bool:
        """Whether it hears more than English."""
        return self.vocabulary >= 51_865

    @property
    def translates(self) -> bool:
        """Whether it was taught to translate: English models and the turbo were not."""
        return self.is_multilingual and not (self.audio_layers == 32 and self.text_layers == 4)


def read_shape(path: Path) -> Shape:
    """Read the header and check the file to its end: a cut or foreign one is a `LoadError`.

    The engine would end the whole process at some of them.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            shape = _read_header(file, path, size)
            _skip_filters(file, size)
            _skip_vocabulary(file, size, shape.vocabulary)
            _skip_tensors(file, size)
    except (_Broken, struct.error) as error:
        raise LoadError(f"{path} is damaged, or cut off: {error}; fetch it again") from error
    except OSError as error:
        raise LoadError(f"{path} can't be read: {error}") from error
    return shape


class _Broken(Exception):
    pass


def _read_header(file: BinaryIO, path: Path, size: int) -> Shape:
    start = file.read(48)
    if len(start) < 4 or struct.unpack("<I", start[:4])[0] != _MAGIC:
        what = next((text for mark, text in _OTHERS.items() if start.startswith(mark)), None)
        raise LoadError(
            f"{path} is no ggml file of Whisper{f', but {what}' if what else ''}: give a "
            "ggml-*.bin of whisper.cpp, or a name such as 'base', which is fetched"
        )
    values = struct.unpack("<11i", start[4:48])
    for value, most in zip(values, _LIMITS, strict=False):
        _expect(0 < value <= most, f"its header holds the size {value}")
    for width, heads in ((values[2], values[3]), (values[6], values[7])):
        _expect(width % heads == 0, f"its header splits {width} into {heads}")
    return Shape(size, *values[:10])


def _skip_filters(file: BinaryIO, size: int) -> None:
    bands, bins = _ints(file, 2)
    _expect(0 < bands <= 1024 and 0 < bins <= 8192, f"it has {bands} × {bins} filters")
    _skip(file, size, bands * bins * 4)


def _skip_vocabulary(file: BinaryIO, size: int, most: int) -> None:
    (count,) = _ints(file, 1)
    _expect(0 < count <= most, f"it has {count} tokens")
    for _ in range(count):
        (length,) = _ints(file, 1)
        _expect(0 <= length <= _LONGEST_TOKEN, f"a token has {length} bytes")
        file.read(length)
    _expect(file.tell() <= size, "it ends within its vocabulary")


def _skip_tensors(file: BinaryIO, size: int) -> None:
    found = 0
    while file.tell() < size:
        dimensions, length, kind = _ints(file, 3)
        _expect(0 < dimensions <= 4, f"a tensor has {dimensions} dimensions")
        _expect(0 < length <= _LONGEST_NAME, f"a tensor's name has {length} bytes")
        _expect(kind in _TYPES, f"a tensor has the unknown type {kind}")
        numbers = 1
        for extent in _ints(file, dimensions):
            _expect(extent > 0, f"a tensor has the extent {extent}")
            numbers *= extent
        block, width = _TYPES[kind]
        _skip(file, size, length)
        _skip(file, size, numbers // block * width)
        found += 1
    _expect(found > 0, "it has no weights")


def _ints(file: BinaryIO, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}i", file.read(4 * count))


def _skip(file: BinaryIO, size: int, count: int) -> None:
    there = file.tell() + count
    _expect(there <= size, f"it has {size} bytes, and needs more")
    file.seek(there)


def _expect(right: bool, problem: str) -> None:
    if not right:
        raise _Broken(problem)
