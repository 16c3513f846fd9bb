"""The engine of the echo backends: it computes nothing, at a pace and with faults as asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from os import PathLike
from pathlib import Path
from typing import TypeVar

from blazen.bridge import Job
from blazen.checks import check_range
from blazen.errors import LoadError, ModelNotFoundError
from blazen.local import LocalBackend
from blazen.types.progress import OnProgress, Progress

T = TypeVar("T")

MAGIC = b"ECHO"
"""How a file of echo weights begins."""

_LOAD_STEPS = 4


@dataclass(frozen=True)
class EchoOptions:
    """How an echo backend behaves."""

    name: str = "echo"
    _: KW_ONLY
    weights: str | PathLike[str] | None = None
    """A file that begins with ``ECHO``; what is anything else fails to load."""
    repeat: int = 1
    """How many times a chat answer says what was said to it."""
    parallel: int = 1
    """How many requests are answered at once."""
    piece_delay: float = 0.0
    """Seconds of work for each piece of an answer."""
    load_delay: float = 0.0
    """Seconds of work for a load."""
    load_error: Exception | None = None
    """What the engine raises instead of loading."""
    fail_at: int | None = None
    """The piece at which the engine fails, counted from 0."""
    memory: int = 0
    """How many bytes the loaded engine holds."""

    def __post_init__(self) -> None:
        check_range("repeat", self.repeat, at_least=1, integer=True)
        check_range("parallel", self.parallel, at_least=1, integer=True)
        check_range("piece_delay", self.piece_delay, at_least=0)
        check_range("load_delay", self.load_delay, at_least=0)
        check_range("fail_at", self.fail_at, at_least=0, integer=True)
        check_range("memory", self.memory, at_least=0, integer=True)


class EchoFailure(Exception):
    """What the echo engine raises when it is asked to fail; it never reaches a caller raw."""


class EchoEngine:
    """A loaded echo model."""

    def __init__(self, options: EchoOptions, job: Job, report: OnProgress) -> None:
        if options.weights is not None:
            _check_weights(Path(options.weights))
        for step in range(_LOAD_STEPS):
            report(Progress("load", step, _LOAD_STEPS, unit="steps", detail=options.name))
            time.sleep(options.load_delay / _LOAD_STEPS)
            if job.cancelled:
                raise LoadError(f"{options.name}: loading was stopped")
        if options.load_error is not None:
            raise options.load_error
        self._options = options
        # Zeros would be pages that the system only promises: other bytes have to be there.
        self._weights = bytearray(b"\1") * options.memory
        report(Progress("load", _LOAD_STEPS, _LOAD_STEPS, unit="steps", detail=options.name))

    def work(self, job: Job, pieces: Iterable[T]) -> Iterator[T]:
        """Go through the pieces of an answer, doing the work of each."""
        for number, piece in enumerate(pieces):
            if number == self._options.fail_at:
                raise EchoFailure(f"asked to fail at piece {number}")
            if self._options.piece_delay:
                time.sleep(self._options.piece_delay)
            if job.cancelled:
                return
            yield piece

    def close(self) -> None:
        """Give the memory back."""
        self._weights = bytearray()


class EchoBackend(LocalBackend[EchoEngine]):
    """What the echo backends share: loading, on a real thread and with the faults asked for."""

    Options = EchoOptions
    options: EchoOptions

    def __init__(self, options: EchoOptions | None = None) -> None:
        super().__init__(options or EchoOptions())

    def _open(self, job: Job, report: OnProgress) -> EchoEngine:
        return EchoEngine(self.options, job, report)

    @staticmethod
    def _close(engine: EchoEngine) -> None:
        engine.close()

    def _width(self) -> int:
        return self.options.parallel


def _check_weights(path: Path) -> None:
    if not path.exists():
        raise ModelNotFoundError(f"there is no file {str(path)!r}: give the path of echo weights")
    if not path.is_file():
        raise LoadError(f"{str(path)!r} is no file: give the path of echo weights")
    with path.open("rb") as file:
        if (start := file.read(len(MAGIC))) != MAGIC:
            raise LoadError(f"{str(path)!r} holds no echo weights: it begins with {start!r}")
