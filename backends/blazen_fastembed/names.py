"""The models that fastembed knows, under the names that people use for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownModel:
    """A model from fastembed's own list, and where its files are."""

    name: str
    repository: str
    files: tuple[str, ...]


def known_model(name: str) -> KnownModel | None:
    """Find a model by its full name, or by its last part written as one word: ``BGESmallENV15``.

    What lies on the disk under that name goes first: it is never taken for the model of the list.
    """
    if Path(name).exists():
        return None
    from fastembed import TextEmbedding

    rows = TextEmbedding.list_supported_models()
    is_one_word = not set(name) & set("/\\:")
    for matches in (str.lower, _one_word) if is_one_word else (str.lower,):
        for row in rows:
            if matches(row["model"]) == matches(name) and row["sources"]["hf"]:
                files = (row["model_file"], *row["additional_files"])
                return KnownModel(row["model"], row["sources"]["hf"], files)
    return None


def _one_word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower())
