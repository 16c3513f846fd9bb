"""What holds for every pipeline on a disk: its index, its weight files, and how they come here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from blazen.errors import LoadError, UnsupportedError, ValidationError
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate
from blazen.weights.safetensors import read_safetensors

INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


@dataclass(frozen=True)
class Fetching:
    """How to bring files here."""

    cache_dir: str | PathLike[str] | None
    on_progress: OnProgress
    cancelled: Callable[[], bool]

    def locate(self, target: str | PathLike[str], patterns: list[str] | None = None) -> Path:
        """Give the path of what a text names, fetched first if need be."""
        return locate(
            target,
            patterns=patterns,
            cache_dir=self.cache_dir,
            on_progress=self.on_progress,
            cancelled=self.cancelled,
        )


def read_index(path: Path, where: str) -> dict[str, Any]:
    """Read what a pipeline consists of."""
    if not path.is_file():
        raise LoadError(f"{where} is no pipeline of diffusers: it has no {INDEX}")
    try:
        index = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} can't be read: {error}") from error
    if not isinstance(index, dict) or not index.get("_class_name"):
        raise LoadError(f"{path} names no pipeline of diffusers")
    own = [name for name, kind in index.items() if is_part(kind) and _is_own_code(kind)]
    if not isinstance(index["_class_name"], str) or own:
        what = own[0] if own else "the pipeline"
        raise UnsupportedError(
            f"{where} brings code of its own for {what}, which is not run: take a pipeline whose "
            "classes are in diffusers and transformers"
        )
    return index


def is_part(kind: object) -> bool:
    """Tell whether an entry of an index names a part: a library and a class."""
    return isinstance(kind, list) and len(kind) == 2


def _is_own_code(kind: list[Any]) -> bool:
    return kind[0] not in (None, "diffusers", "transformers") and not _is_group(str(kind[0]))


def _is_group(name: str) -> bool:
    """Tell whether this is one of diffusers' own groups of pipelines, which bring classes too."""
    from diffusers import pipelines

    return hasattr(pipelines, name)


def check_header(path: Path) -> None:
    """Refuse a safetensors file that is damaged or cut off."""
    try:
        read_safetensors(path)
    except ValidationError as error:
        raise LoadError(str(error)) from error
