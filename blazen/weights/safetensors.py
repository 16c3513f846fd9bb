"""Reading the headers of safetensors files, alone or in shards, without NumPy or an engine.

A header may come from anywhere, so nothing in it is believed: sizes are checked before memory is
taken, and what no real model needs is refused (a header of more than 8 MiB, 65,536 tensors in one
file, an index of more than 32 MiB).
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from blazen.errors import ModelNotFoundError, ValidationError
from blazen.types.record import Record
from blazen.weights.header import looks_like, model_path, open_model_file
from blazen.weights.json_header import JsonHeader

_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
_MAX_HEADER = 8 << 20
_MAX_INDEX = 32 << 20
_MAX_TENSORS = 1 << 16
_MAX_KEYS = 1 << 14
_MAX_MEMBERS = 1000
_MAX_SHARD_TENSORS = 1 << 18
_INDEX = ".safetensors.index.json"


@dataclass(frozen=True, slots=True)
class SafetensorsTensor(Record):
    """One tensor: its name, type, shape (the slowest dimension first) and place in its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """From the start of the file."""
    nbytes: int
    part: int = 0
    """Which of `SafetensorsFile.parts` it lies in."""

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, repr=False)
class SafetensorsFile(Record):
    """The header of a safetensors file, or of all the shards of a model."""

    path: Path
    tensors: tuple[SafetensorsTensor, ...]
    size: int
    """Bytes on disk, all shards together."""
    metadata: dict[str, str] = field(default_factory=dict)
    parts: tuple[Path, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold together."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def nbytes(self) -> int:
        """How many bytes all tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def dtype(self) -> str | None:
        """The type that most bytes have; None for a file without tensors."""
        nbytes: dict[str, int] = {}
        for tensor in self.tensors:
            nbytes[tensor.dtype] = nbytes.get(tensor.dtype, 0) + tensor.nbytes
        return max(nbytes, key=lambda dtype: nbytes[dtype]) if nbytes else None

    def __repr__(self) -> str:
        parts = f", {len(self.parts)} parts" if len(self.parts) > 1 else ""
        return (
            f"<SafetensorsFile {self.path.name!r}: {self.dtype}, {self.parameters:,} parameters, "
            f"{len(self.tensors)} tensors{parts}, {self.size:,} bytes>"
        )


def read_safetensors(path: str | os.PathLike[str]) -> SafetensorsFile:
    """Read the header of a file, of a ``.index.json`` with its shards, or of a model's folder."""
    place = model_path(path)
    if place.is_dir():
        place = _in_folder(place)
    return _read_shards(place) if place.name.endswith(".json") else _read_file(place)


def _in_folder(folder: Path) -> Path:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ValidationError(f"{folder} can't be read: {error.strerror}") from error
    for suffix in (_INDEX, ".safetensors"):
        found = [name for name in names if name.endswith(suffix)]
        main = f"model{suffix}"
        if main in found or len(found) == 1:
            return folder / (main if main in found else found[0])
        if found:
            raise ValidationError(f"{folder} holds several models: name one of {found[:5]}")
    raise ModelNotFoundError(f"there is no safetensors file in the folder {folder}")


def _read_file(path: Path) -> SafetensorsFile:
    with open_model_file(path) as (file, size):
        start = file.read(min(size, 64))
        length = int.from_bytes(start[:8], "little")
        if size < 10 or length > size - 8 or start[8:9] != b"{":
            hint = looks_like(start) if length > size - 8 else "its header is no JSON object"
            raise _bad(path, f"{hint}, or the download is incomplete: fetch it again")
        if length > _MAX_HEADER:
            raise _bad(path, f"its header has {length:,} bytes; at most {_MAX_HEADER:,} are read")
        file.seek(8)
        reader = JsonHeader(path, file.read(length), length)
    tensors: dict[str, tuple[str, tuple[int, ...], int, int]] = {}
    metadata: dict[str, str] = {}

    def note(key: str) -> None:
        if len(metadata) >= _MAX_KEYS:
            raise _bad(path, f"it has more than {_MAX_KEYS:,} keys of metadata")
        reader.once(metadata, key, reader.text())

    def member(name: str) -> None:
        if name == "__metadata__":
            reader.members(note)
            return
        if len(tensors) >= _MAX_TENSORS:
            raise _bad(path, f"it has more than {_MAX_TENSORS:,} tensors")
        reader.once(tensors, name, _entry(path, name, reader.small()))

    reader.members(member)
    reader.end()
    return SafetensorsFile(
        path=path,
        tensors=_place(path, tensors, 8 + length, size),
        size=size,
        metadata=metadata,
        parts=(path,),
    )


def _entry(path: Path, name: str, entry: dict[str, Any]) -> tuple[str, tuple[int, ...], int, int]:
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if (
        set(entry) != {"dtype", "shape", "data_offsets"}
        or not isinstance(dtype, str)
        or not _whole_numbers(shape)
        or not _whole_numbers(offsets)
        or len(offsets) != 2
        or offsets[0] > offsets[1]
    ):
        raise _bad(path, f"tensor {name!r:.80} is described by {entry!s:.120}")
    bits = _BITS.get(dtype)
    nbytes = offsets[1] - offsets[0]
    if bits is not None and math.prod(shape) * bits != nbytes * 8:
        raise _bad(
            path, f"tensor {name!r:.80} of {dtype} {shape!s:.80} can't take {nbytes:,} bytes"
        )
    return dtype, tuple(shape), offsets[0], nbytes


def _place(
    path: Path, tensors: dict[str, tuple[str, tuple[int, ...], int, int]], start: int, size: int
) -> tuple[SafetensorsTensor, ...]:
    """Check that the tensors fill the rest of the file without a gap or an overlap."""
    at = 0
    for name, (_, _, offset, nbytes) in sorted(tensors.items(), key=lambda row: row[1][2:]):
        if offset != at:
            problem = "overlaps the one before it" if offset < at else "leaves a gap before it"
            raise _bad(path, f"tensor {name!r:.80} {problem}")
        at += nbytes
    if start + at != size:
        raise _bad(
            path,
            f"its tensors end at byte {start + at:,}, but the file has {size:,}: "
            "the download may be incomplete, fetch it again",
        )
    return tuple(
        SafetensorsTensor(name, dtype, shape, start + offset, nbytes)
        for name, (dtype, shape, offset, nbytes) in tensors.items()
    )


def _read_shards(path: Path) -> SafetensorsFile:
    with open_model_file(path) as (file, size):
        if size > _MAX_INDEX:
            raise _bad(path, f"the index has {size:,} bytes; at most {_MAX_INDEX:,} are read")
        reader = JsonHeader(path, file.read(size), size)
    shard_of: dict[str, str] = {}
    seen: dict[str, None] = {}

    def assign(name: str) -> None:
        if len(shard_of) >= _MAX_SHARD_TENSORS:
            raise _bad(path, f"its weight_map names more than {_MAX_SHARD_TENSORS:,} tensors")
        reader.once(shard_of, name, reader.text())

    def member(name: str) -> None:
        if len(seen) >= _MAX_MEMBERS:
            raise _bad(path, f"the index has more than {_MAX_MEMBERS:,} members")
        reader.once(seen, name, None)
        if name == "weight_map":
            reader.members(assign)
        else:
            reader.small()

    reader.members(member)
    reader.end()
    if not shard_of:
        raise _bad(path, "its weight_map names no tensor")
    names = sorted(set(shard_of.values()))
    for name in names:
        if not name.endswith(".safetensors") or re.search(r"[/\\\0:]", name):
            raise _bad(path, f"the shard {name!r:.80} is no plain file name")
    missing = [name for name in names if not (path.parent / name).exists()]
    if missing:
        raise ModelNotFoundError(
            f"{path} needs {len(names)} shards, but {', '.join(missing[:3])} "
            f"{'is' if len(missing) == 1 else 'are'} not beside it: fetch every shard"
        )
    return _join(path, [_read_file(path.parent / name) for name in names], shard_of)


def _join(path: Path, shards: list[SafetensorsFile], shard_of: dict[str, str]) -> SafetensorsFile:
    tensors: dict[str, SafetensorsTensor] = {}
    metadata: dict[str, str] = {}
    for part, shard in enumerate(shards):
        metadata.update(shard.metadata)
        for tensor in shard.tensors:
            if tensor.name in tensors:
                raise _bad(path, f"tensor {tensor.name!r:.80} is in two shards")
            tensors[tensor.name] = replace(tensor, part=part)
    for name, shard_name in shard_of.items():
        found = tensors.get(name)
        if found is None or shards[found.part].path.name != shard_name:
            raise _bad(path, f"tensor {name!r:.80} is not in its shard {shard_name!r:.80}")
    return SafetensorsFile(
        path=path,
        tensors=tuple(tensors.values()),
        size=sum(shard.size for shard in shards),
        metadata=metadata,
        parts=tuple(shard.path for shard in shards),
    )


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in value)


def _bad(path: Path, problem: str) -> ValidationError:
    return ValidationError(f"{path} is no safetensors file that can be read: {problem}")
