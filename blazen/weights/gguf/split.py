"""GGUF files that come in parts, ``NAME-00001-of-00003.gguf``: finding them and joining them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blazen.errors import ModelNotFoundError, ValidationError
from blazen.weights.gguf.model import GgufFile, GgufTensor

_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.I)


def read_split(file: GgufFile, read: Callable[[Path], GgufFile]) -> GgufFile:
    """Join a part with its siblings; a file that is whole comes back as it is."""
    count = _number(file, "split.count", 1)
    if count <= 1:
        return file
    paths = _paths(file, count)
    missing = [path.name for path in paths[:1000] if not path.exists()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelNotFoundError(
            f"{file.path} is one of {count} parts, but {', '.join(missing[:3])}{more} "
            f"{'is' if len(missing) == 1 else 'are'} not in {file.path.parent}: "
            "fetch every part into one folder"
        )
    parts = [file if path == file.path else read(path) for path in paths]
    for number, part in enumerate(parts):
        _check(part, number, count)
    tensors = _join(parts)
    total = _number(parts[0], "split.tensors.count", len(tensors))
    if total != len(tensors):
        raise ValidationError(
            f"{parts[0].path} promises {total} tensors, but its {count} parts hold {len(tensors)}"
        )
    return replace(
        parts[0],
        tensors=tensors,
        size=sum(part.size for part in parts),
        parts=tuple(paths),
    )


def _paths(file: GgufFile, count: int) -> list[Path]:
    found = _NAME.fullmatch(file.path.name)
    if not found or int(found["count"]) != count:
        raise ValidationError(
            f"{file.path} says that it is one of {count} parts, so its name must end in "
            f"-00001-of-{count:05}.gguf (or a later number): give it the name it came with"
        )
    names = (f"{found['stem']}-{n + 1:05}-of-{count:05}{found['suffix']}" for n in range(count))
    return [file.path.with_name(name) for name in names]


def _check(part: GgufFile, number: int, count: int) -> None:
    says = (_number(part, "split.no", -1), _number(part, "split.count", 0))
    if says != (number, count):
        raise ValidationError(
            f"{part.path} should be part {number + 1} of {count}, "
            f"but says that it is part {says[0] + 1} of {says[1]}"
        )


def _join(parts: list[GgufFile]) -> tuple[GgufTensor, ...]:
    tensors: dict[str, GgufTensor] = {}
    for number, part in enumerate(parts):
        for tensor in part.tensors:
            if tensor.name in tensors:
                raise ValidationError(f"{part.path} repeats tensor {tensor.name!r} of another part")
            tensors[tensor.name] = replace(tensor, part=number)
    return tuple(tensors.values())


def _number(file: GgufFile, key: str, default: int) -> int:
    value = file.metadata.get(key, default)
    if type(value) is not int:
        raise ValidationError(f"{file.path}: {key} must be a whole number, not {value!r:.40}")
    return value
