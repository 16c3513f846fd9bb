"""What was found somewhere, before it is known which backend opens it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blazen.catalog.listing import Source

_GENERIC = re.compile(r"(ggml-)?model([-_.].*)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model that lies somewhere; of a GGUF file only the header says of which kind it is."""

    name: str
    target: str
    """What a backend is given."""
    form: str
    """How it is stored, as `FORMS` has it."""
    kind: str | None = None
    """``None`` where its header has to be read first."""
    source: Source
    path: Path | None = None
    size: int | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()
    """Other texts that it may be asked for by."""
    options: Mapping[str, Any] = field(default_factory=dict)
    projector: Path | None = None
    """What gives a chat model eyes, where it lies beside it."""


def file_name(path: Path) -> str:
    """Name a file for people: by its stem, or its folder where the stem says nothing."""
    stem = re.sub(r"-00001-of-\d{5}$", "", path.stem)
    return path.parent.name if _GENERIC.fullmatch(stem) and path.parent.name else stem
