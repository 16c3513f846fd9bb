"""The models that fastembed offers of one kind, and the folders that they are read from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.checks import unknown_name
from blazen.errors import DownloadError, ModelNotFoundError, UnsupportedError, ValidationError
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate

_FETCHED = ("*.onnx", "*.onnx_data", "*.json", "*.txt")
_ONNX = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx", "model_quantized.onnx")


@dataclass(frozen=True)
class Found:
    """A model: what fastembed calls it, or one that is built alike, and where its files are."""

    name: str
    folder: Path
    file: str
    """The ONNX file inside the folder."""
    description: dict[str, Any]
    """The row of fastembed's list that the name leads to."""

    @property
    def weights(self) -> int:
        """How many bytes the ONNX file has, with the data that lies beside it."""
        path = self.folder / self.file
        parts = [part for part in path.parent.glob(f"{path.name}*") if part.is_file()]
        return sum(part.stat().st_size for part in parts)


def find(
    offer: Any,
    target: str | PathLike[str],
    job: Job,
    report: OnProgress,
    *,
    like: Callable[[Path], str],
    given: str | None = None,
    needed: Sequence[str] = (),
    cache_dir: str | PathLike[str] | None = None,
) -> Found:
    """Give a model by fastembed's name for it, by its hub id, or by its folder; fetched if needed.

    ``like`` says of a folder which known model it is built like, where that is not ``given``;
    ``needed`` are the files that it must have beside its ONNX file.
    """
    rows = offer.list_supported_models()
    row = known_row(rows, target)
    if row is not None and given is not None:
        raise UnsupportedError(
            f"fastembed knows how {row['model']} is read: leave like= out, or give a folder"
        )
    patterns: Sequence[str] = _FETCHED
    wanted = target
    if row is not None:
        wanted = f"hf:{row['sources']['hf']}"
        patterns = [row["model_file"], *row["additional_files"], "*.json", "*.txt"]
    try:
        folder = locate(
            wanted,
            patterns=list(patterns),
            cache_dir=cache_dir,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )
    except (ModelNotFoundError, DownloadError) as error:
        near = None if row is not None else near_name(rows, str(target))
        if near is None:
            raise
        raise type(error)(f"{error}; did you mean {near!r}, which fastembed knows?") from error
    if row is not None:
        return Found(row["model"], folder, row["model_file"], row)
    if not folder.is_dir():
        raise ValidationError(f"such a model is a folder with an ONNX file; {folder} is a file")
    row = row_like(rows, given or like(folder))
    if not row["model_file"].endswith(".onnx"):
        return Found(row["model"], folder, "", row)  # there is no network in it
    check_files(folder, needed)
    return Found(row["model"], folder, onnx_file(folder, row["model_file"]), row)


def check_files(folder: Path, needed: Sequence[str]) -> None:
    """Refuse a folder that lacks a file."""
    for name in needed:
        if not (folder / name).is_file():
            raise ValidationError(f"{folder} has no {name}")


def known_row(rows: Sequence[dict[str, Any]], target: str | PathLike[str]) -> dict[str, Any] | None:
    """Find a model by its full name, or by its last part written as one word: ``SpladePPenv1``.

    What lies on the disk under that name goes first: it is never taken for the model of the list.
    """
    name = str(target)
    return None if Path(name).exists() else _matching(rows, name)


def row_like(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Find the model that a folder is said to be built like."""
    row = _matching(rows, name)
    if row is None:
        names = [row["model"] for row in rows]
        raise ValidationError(unknown_name("model in fastembed", name, names))
    return row


def _matching(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    is_one_word = not set(name) & set("/\\:")
    for spelled in (str.lower, _one_word) if is_one_word else (str.lower,):
        for row in rows:
            if spelled(row["model"]) == spelled(name) and row["sources"]["hf"]:
                # A name that was once misspelt leads to the same files: the right one is first.
                return next(one for one in rows if _files(one) == _files(row))
    return None


def near_name(rows: Sequence[dict[str, Any]], name: str) -> str | None:
    """Give the known name that is nearest to one that leads nowhere."""
    names = {_one_word(row["model"]): row["model"] for row in reversed(rows)}
    near = difflib.get_close_matches(_one_word(name), names, n=1, cutoff=0.7)
    return names[near[0]] if near else None


def onnx_file(folder: Path, usual: str) -> str:
    """Give the ONNX file of a folder, by its place inside it."""
    for name in (usual, *_ONNX):
        if name.endswith(".onnx") and (folder / name).is_file():
            return name
    others = sorted(path.name for path in folder.glob("*.onnx"))
    if len(others) == 1:
        return others[0]
    what = f"several ONNX files ({', '.join(others)})" if others else "no ONNX file"
    raise ValidationError(f"{folder} has {what}: name the one to use model.onnx")


def _files(row: dict[str, Any]) -> tuple[str, str]:
    return row["sources"]["hf"], row["model_file"]


def _one_word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower())
