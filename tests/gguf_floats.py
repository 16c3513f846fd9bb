"""Writing a GGUF file of NumPy arrays that a real engine loads."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any


def write_gguf(path: Path, metadata: dict[str, Any], tensors: dict[str, Any]) -> Path:
    """Write a GGUF file of 32-bit floats."""
    import numpy

    out = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        code, data = _value(value)
        out += _text(key) + struct.pack("<I", code) + data
    offset = 0
    for name, array in tensors.items():
        shape = array.shape[::-1]
        out += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += -(-array.nbytes // 32) * 32
    with path.open("wb") as file:
        file.write(out + bytes(-len(out) % 32))
        for array in tensors.values():
            data = numpy.ascontiguousarray(array, "<f4").tobytes()
            file.write(data + bytes(-len(data) % 32))
    return path


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    if isinstance(value[0], str):
        return 9, struct.pack("<IQ", 8, len(value)) + b"".join(map(_text, value))
    if isinstance(value[0], float):
        return 9, struct.pack(f"<IQ{len(value)}f", 6, len(value), *value)
    return 9, struct.pack(f"<IQ{len(value)}i", 5, len(value), *value)
