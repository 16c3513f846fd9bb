"""From what a user wrote to the two files of a network, and from them to its tensors."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.errors import LoadError, ModelNotFoundError
from blazen.extras import need
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate
from blazen.weights.target import Target

if TYPE_CHECKING:
    import torch

CONFIG = "config.yaml"
WEIGHTS = ("model.safetensors", "model.ckpt")
"""The names that weights go by; the first that is there is taken."""


@dataclass(frozen=True)
class ModelFiles:
    """The two files of a network."""

    config: Path
    weights: Path


def model_files(
    model: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ModelFiles:
    """Give the files of a folder or of a repository on the hub, fetched first if need be."""
    target = Target.parse(model)
    patterns = None
    if target.source == "hub" and target.file is None:
        patterns = [CONFIG, *WEIGHTS]
    path = locate(
        model, patterns=patterns, cache_dir=cache_dir, on_progress=on_progress, cancelled=cancelled
    )
    if path.is_file():
        if path.name == CONFIG:
            raise LoadError(f"{path} is the config of a model: name the folder that it is in")
        return ModelFiles(_beside(path), path)
    for name in WEIGHTS:
        if (path / name).is_file():
            return ModelFiles(_beside(path / name), path / name)
    raise ModelNotFoundError(f"{path} holds no TripoSR: there is no {' and no '.join(WEIGHTS)}")


def _beside(weights: Path) -> Path:
    config = weights.with_name(CONFIG)
    if not config.is_file():
        raise ModelNotFoundError(f"there is no {CONFIG} beside {weights}: TripoSR is both files")
    return config


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Map the tensors of a file: what is not used is not read, and nothing is read twice."""
    tensors = _safetensors(path) if path.suffix == ".safetensors" else _checkpoint(path)
    odd = [str(name) for name, value in tensors.items() if not hasattr(value, "shape")]
    if odd:
        raise LoadError(
            f"{path} is no plain checkpoint: {', '.join(sorted(odd)[:4])} are no tensors"
        )
    return tensors


def _safetensors(path: Path) -> dict[str, Any]:
    reader = need("safetensors", extra="triposr", what="reading safetensors")
    try:
        with reader.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except Exception as error:
        raise LoadError(f"{path} can't be read: {error}") from error


def _checkpoint(path: Path) -> dict[str, Any]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        # What torch advises here is to load it all the same.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise LoadError(
            f"{path} holds more than tensors{what}, and a pickle may run any code: take a "
            "checkpoint of tensors alone, or model.safetensors"
        ) from error
    except Exception as error:
        raise LoadError(f"{path} is no checkpoint of torch: {error}") from error
    if not isinstance(found, dict):
        raise LoadError(f"{path} holds {type(found).__name__}, and no tensors by name")
    return found
