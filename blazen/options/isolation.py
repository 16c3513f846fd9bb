"""How a model is kept in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, TypeAlias

from blazen.checks import check_range, parse_bytes
from blazen.errors import ValidationError
from blazen.types.record import Settings

_LEAST_MEMORY = 256 << 20
"""With less address space not even the interpreter answers."""


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
    env: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Environment variables beyond the few that it is given."""
    cwd: str | PathLike[str] | None = None
    """Its working directory; ``None`` is this process's at the moment that it starts."""
    grace: float = 5.0
    """Seconds that it may take to stop a request, or to close, before it is ended."""
    silence: float = 60.0
    """Seconds without a sign of life after which it counts as hung; 0 waits for ever."""
    patience: float | None = None
    """Seconds that a stream, and nothing else, may go without a piece before it counts as hung."""
    restarts: int = 5
    """How often in a row it is started anew after crashes; then it rests before the next try."""
    spare: bool = False
    """Keep another one waiting, its interpreter started and its engine imported."""

    def __post_init__(self) -> None:
        if self.memory is not None:
            object.__setattr__(self, "memory", parse_bytes("memory", self.memory))
            if self.memory < _LEAST_MEMORY:  # type: ignore[operator]  # it is a number now
                raise ValidationError(
                    f"memory must be at least {_LEAST_MEMORY >> 20} MiB, which an interpreter "
                    f"needs before any model, not {self.memory} bytes"
                )
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
        if not isinstance(self.spare, bool):
            raise ValidationError(f"spare must be True or False, not {self.spare!r:.60}")
        _check_folder(self.cwd)
        if not isinstance(self.env, Mapping):
            raise ValidationError(f"env must be a dictionary of texts, not a {type(self.env)}")
        object.__setattr__(self, "env", dict(self.env))
        for name, value in self.env.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise ValidationError(f"env must be a dictionary of texts; see {name!r:.60}")
            if not name or "=" in name or "\0" in name + value:
                # Its value may be a secret, and is not repeated.
                raise ValidationError(
                    f"env has a variable {name!r:.60} that no process can be given: a name is not "
                    "empty and has no '=', and neither name nor value has a NUL"
                )


def _check_folder(cwd: object) -> None:
    if cwd is None:
        return
    path = os.fspath(cwd) if isinstance(cwd, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValidationError(f"cwd must be the path of a folder, not {cwd!r:.80}")


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
