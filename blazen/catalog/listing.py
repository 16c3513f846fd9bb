"""One model that can be asked for by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from blazen.options.isolation import Isolated
from blazen.types.record import Record, encode

Source: TypeAlias = Literal["config", "starter", "cache", "folder", "given"]

KINDS = {
    "model": "chat",
    "embedding": "embedding",
    "transcription": "transcription",
    "tts": "speech",
    "image": "image",
    "three_d": "mesh",
    "rerank": "rerank",
    "sparse": "sparse embedding",
    "token_embedding": "token embedding",
    "image_embedding": "image embedding",
}
"""Every kind of model as the registry names it, and the word for people."""


@dataclass(frozen=True, kw_only=True)
class Listing(Record):
    """One model that can be asked for by name, and what the manager is to know of it."""

    name: str
    """What users type."""
    kind: str
    """The registry's word: ``model``, ``embedding``, ``transcription``, ``tts`` and so on."""
    spec: str
    """``backend:target``, as `Model.from_spec` takes it."""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    """Further options of the backend."""
    source: Source = "given"
    path: Path | None = None
    """Where it lies on this machine, as far as that is known without opening it."""
    size: int | None = None
    """Its bytes on the disk."""
    description: str = ""
    memory: int | str | Mapping[str, int | str] | None = field(default=None, hash=False)
    """What it takes while it is loaded, if the backend is not to say it."""
    pinned: bool = False
    keep_alive: float | None = None
    priority: int = 0
    preload: bool = False
    fallback: tuple[str, ...] = ()
    deadline: float | None = None
    isolation: Isolated | Literal["default"] = field(default="default", hash=False)
    """Where its engine runs; ``"default"`` is as the manager has it."""
    system: str | None = None
    """What a chat begins with, where the user says nothing else."""

    @property
    def backend(self) -> str:
        """The name of the backend that opens it."""
        return self.spec.partition(":")[0]

    @property
    def target(self) -> str:
        """What the backend opens: a path, a hub id, a URL or a starter's name."""
        return self.spec.partition(":")[2]

    @property
    def key(self) -> str:
        """Tell one model from another, whatever it was called."""
        return f"{self.kind} {self.spec} {json.dumps(encode(self.options), sort_keys=True)}"
