"""From what a user calls a Whisper to the file that holds it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from blazen.checks import unknown_name
from blazen.errors import LoadError, ModelNotFoundError, ValidationError
from blazen.options import WhisperModel
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate
from blazen.weights.target import MODEL_SUFFIXES, Target

REPOSITORY = "ggerganov/whisper.cpp"
"""Where the published files are, on the hub."""
_ALIASES = {"large": WhisperModel.LargeV3.value, "turbo": WhisperModel.LargeV3Turbo.value}
_SIZES = tuple(size.value for size in WhisperModel)
_QUANTISED = re.compile(r"-q[2-8]_[01k]$")


def hub_file(name: str) -> str | None:
    """Give the published file of a size, ``None`` where the name is none: ``base``, ``base-q5_1``.

    What lies on the disk under that name goes first.
    """
    if Path(name).exists():
        return None
    quantised = _QUANTISED.search(name.lower())
    size = name.lower()[: quantised.start()] if quantised else name.lower()
    size = _ALIASES.get(size, size)
    return f"ggml-{size}{quantised[0] if quantised else ''}.bin" if size in _SIZES else None


def find_model(
    model: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None,
    report: OnProgress,
    cancelled: Callable[[], bool],
) -> Path:
    """Give the path of a model's file, fetched first if it is not here yet."""
    target: str | os.PathLike[str] = model.value if isinstance(model, Enum) else model
    file = hub_file(target) if isinstance(target, str) else None
    if file is not None:
        target = f"hf:{REPOSITORY}"
    else:
        _refuse_nowhere(target)
    path = locate(target, file=file, cache_dir=cache_dir, on_progress=report, cancelled=cancelled)
    if path.is_dir():
        path = _only_model(path)
    return path


def _refuse_nowhere(target: str | os.PathLike[str]) -> None:
    """Refuse a name that leads nowhere, before anything is fetched."""
    wanted = Target.parse(target)
    if wanted.source == "hub" and wanted.file is None:
        raise ValidationError(
            f"{wanted} is a whole repository: name its file, such as '{wanted.repo}/ggml-base.bin'"
        )
    plain = isinstance(target, str) and not set(target) & set("/\\:")
    if plain and not Path(target).exists() and not str(target).endswith(MODEL_SUFFIXES):
        raise ModelNotFoundError(
            unknown_name("Whisper model", str(target), _SIZES)
            + "; a quantised one is written base-q5_1, a file by its path"
        )


def _only_model(folder: Path) -> Path:
    found = sorted(folder.glob("*.bin"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise LoadError(f"{folder} is a folder ({names}): give the path of one ggml file in it")
    return found[0]
