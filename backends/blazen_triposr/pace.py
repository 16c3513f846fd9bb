"""Telling how far a mesh is, and stopping where nobody waits for it any more."""

from __future__ import annotations

from blazen.bridge import StreamJob
from blazen.types.generation import MeshChunk

_REPORTS = 64
"""How many steps of a stage are told at the most: each one wakes the reader."""


class Stopped(Exception):
    """Raised between two steps, when whoever asked has gone."""


class Pace:
    """What the steps of one request call."""

    def __init__(self, job: StreamJob[MeshChunk]) -> None:
        self._job = job
        self._stage = ""
        self._total = 0
        self._told = -1

    def begin(self, stage: str, total: int) -> None:
        """Start a stage of so many steps."""
        self._stage, self._total, self._told = stage, total, -1
        self.reach(0)

    def reach(self, done: int) -> None:
        """Tell how many steps of the stage are done."""
        self.check()
        part = done * _REPORTS // self._total
        if part != self._told:
            self._told = part
            self.emit(MeshChunk(self._stage, done, self._total))

    def emit(self, chunk: MeshChunk) -> None:
        """Hand a step to the reader."""
        if not self._job.emit(chunk):
            raise Stopped

    def check(self) -> None:
        """Stop here, if the caller has gone."""
        if self._job.cancelled:
            raise Stopped
