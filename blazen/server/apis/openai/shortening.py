"""Vectors cut to fewer dimensions, of the models that were trained for it."""

from __future__ import annotations

import json
import math
from array import array
from typing import TYPE_CHECKING, Any

from blazen.errors import BlazenError, UnsupportedError
from blazen.types.embedding import Vectors

if TYPE_CHECKING:
    from pathlib import Path

_MARK = "matryoshka"
"""What such a training is called, after the dolls that stand in one another."""


def shortened(vectors: Vectors, dimensions: int, name: str, path: Path | None) -> Vectors:
    """Give the first numbers of each vector, brought back to length 1.

    Of a model that was not trained for it, what is left over would mean little: it is refused.
    """
    if dimensions > vectors.dimensions:
        raise UnsupportedError(
            f"{name!r} has vectors of {vectors.dimensions} dimensions: {dimensions} are more"
        )
    known = trained_for(path)
    if known is None:
        raise UnsupportedError(
            f"{name!r} has vectors of {vectors.dimensions} dimensions, and its files do not say "
            f"that they may be cut to {dimensions}: leave 'dimensions' out"
        )
    if known and dimensions not in known:
        said = ", ".join(map(str, sorted(known)))
        raise UnsupportedError(f"the vectors of {name!r} may be cut to {said}, not to {dimensions}")
    flat = array("f")
    for vector in vectors:
        row = vector[:dimensions].tolist()
        length = math.hypot(*row) or 1.0
        flat.extend(number / length for number in row)
    return Vectors(flat, dimensions)


def trained_for(path: Path | None) -> frozenset[int] | None:
    """Say to how many dimensions a model may be cut; empty: to any; ``None``: to none.

    A GGUF says it among its tags, a folder in its ``config.json``.
    """
    if path is None:
        return None
    if path.suffix == ".gguf":
        return _of_gguf(path)
    folder = path if path.is_dir() else path.parent
    for name in ("config.json", "config_sentence_transformers.json"):
        try:
            config = json.loads((folder / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        known = config.get(f"{_MARK}_dimensions") if isinstance(config, dict) else None
        if known is True:
            return frozenset()
        if isinstance(known, list):
            return frozenset(number for number in known if isinstance(number, int))
    return None


def _of_gguf(path: Path) -> frozenset[int] | None:
    from blazen.weights.gguf import read_gguf

    try:
        metadata = read_gguf(path).metadata
    except (BlazenError, OSError):
        return None
    tags: Any = metadata.get("general.tags") or ()
    return frozenset() if any(_MARK in str(tag).lower() for tag in tags) else None
