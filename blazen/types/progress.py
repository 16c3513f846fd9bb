"""How far a long piece of work has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from blazen.types.record import Record


@dataclass(frozen=True)
class Progress(Record):
    """One report of long work: a download, a load, a generation."""

    stage: str
    """What is being done, in one word: ``download``, ``load``, ``convert``, …"""
    done: int
    total: int | None = None
    unit: str = "bytes"
    detail: str = ""
    """What it is about: the file, the model, the step."""

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, or ``None`` where the end is not known."""
        return min(1.0, self.done / self.total) if self.total else None


OnProgress: TypeAlias = Callable[[Progress], None]
