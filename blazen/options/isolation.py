"""How a model is kept in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, TypeAlias

from blazen.checks import check_range, parse_bytes
from blazen.errors import ValidationError
from blazen.types.record import Settings


@dataclass(frozen=True, kw_only=True)
class Isolation(Settings):
    """A worker process for one model, and its limits."""

    memory: int | str | None = None
    """The most address space that it may have, as ``"4GiB"``: beyond it its allocations fail."""
    gpus: Sequence[int] | None = None
    """The GPUs that it may see; ``()`` is none, ``None`` is all that this process sees."""
    threads: int | None = None
    """The most threads that its engine is given, whatever the model's own options say."""
    nice: int = 0
    """How much it stands back for other processes: 19 is the most."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beyond the few that it is given."""
    cwd: str | PathLike[str] | None = None
    """Its working directory; ``None`` is this process's at the moment that it starts."""
    grace: float = 5.0
    """Seconds that it may take to stop a request, or to close, before it is ended."""
    silence: float = 60.0
    """Seconds without a sign of life after which it counts as hung; 0 waits for ever."""
    patience: float | None = None
    """Seconds that a request may go without a piece of its answer before it counts as hung."""
    restarts: int = 5
    """How often in a row it is started anew after crashes; then it rests before the next try."""
    spare: bool = False
    """Keep another one waiting, its interpreter started and its engine imported."""

    def __post_init__(self) -> None:
        if self.memory is not None:
            object.__setattr__(self, "memory", parse_bytes("memory", self.memory))
        if self.gpus is not None:
            if isinstance(self.gpus, (str, bytes)) or not isinstance(self.gpus, Sequence):
                raise ValidationError(f"gpus must be a list of numbers, not {self.gpus!r:.60}")
            for gpu in self.gpus:
                check_range("a number of gpus", gpu, at_least=0, integer=True)
            object.__setattr__(self, "gpus", tuple(self.gpus))
        check_range("threads", self.threads, at_least=1, integer=True)
        check_range("nice", self.nice, at_least=0, at_most=19, integer=True)
        check_range("grace", self.grace, at_least=0)
        check_range("silence", self.silence, at_least=0)
        check_range("patience", self.patience, at_least=0.001)
        check_range("restarts", self.restarts, at_least=0, integer=True)
        for name, value in self.env.items():
            if not isinstance(name, str) or not isinstance(value, str) or "=" in name:
                raise ValidationError(f"env must be a dictionary of texts; see {name!r:.60}")


Isolated: TypeAlias = Literal["process"] | Isolation | None
"""Where a model runs: ``None`` in this process, ``"process"`` in one of its own."""


def isolation_of(value: object) -> Isolation | None:
    """Give the settings that an option ``isolation`` means."""
    if value is None:
        return None
    if value == "process":
        return Isolation()
    if isinstance(value, (Isolation, Mapping)):
        return Isolation.of(value)
    raise ValidationError(f"isolation is 'process', an Isolation or None, not {value!r:.80}")
