"""Names of devices: ``cpu``, ``cuda``, ``cuda:1``, ``metal``, ``gpu``, ``auto``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from blazen.errors import ValidationError
from blazen.types.record import Record

_FORMS = "'auto', 'cpu', 'gpu', 'gpu:N', 'cuda', 'cuda:N', 'metal' (or 'mps')"
_KINDS = ("cpu", "cuda", "metal", "gpu", "auto")
_TEXT = re.compile(r"(cpu|cuda|gpu|metal|mps|auto)(?::([0-9]{1,4}))?", re.ASCII)


@dataclass(frozen=True)
class Device(Record):
    """Where a model runs, or is asked to run.

    ``cpu``, ``cuda:N`` and ``metal`` are places. ``auto`` (the best device there is, the CPU if
    need be) and ``gpu`` (the best GPU, never the CPU) are wishes: `choose_device` turns them into a
    place. ``cuda`` without a number is the first GPU that CUDA shows.
    """

    kind: str
    index: int | None = None

    Cpu: ClassVar[Device]
    Cuda: ClassVar[Device]
    Metal: ClassVar[Device]
    Gpu: ClassVar[Device]
    Auto: ClassVar[Device]

    def __post_init__(self) -> None:
        numbered = self.index is None or (self.kind == "cuda" and self.index >= 0)
        if self.kind not in _KINDS or not numbered:
            raise ValidationError(f"there is no device {str(self)!r}; valid forms are {_FORMS}")

    @classmethod
    def parse(cls, text: str | Device | None) -> Device:
        """Read a device from text, whatever its case; ``None`` means ``auto``."""
        if text is None:
            return cls.Auto
        if isinstance(text, Device):
            return text
        match = _TEXT.fullmatch(text.strip().lower()) if isinstance(text, str) else None
        if match is None:
            raise ValidationError(f"there is no device {text!r}; valid forms are {_FORMS}")
        kind, number = match.groups()
        if kind in ("metal", "mps"):
            # A Mac has one GPU, which some engines call 'mps:0'.
            return cls("metal", None if number is None or int(number) == 0 else int(number))
        if kind == "gpu" and number is not None:
            kind = "cuda"
        return cls(kind, None if number is None else int(number))

    @property
    def is_gpu(self) -> bool:
        """Whether this names a GPU for sure."""
        return self.kind in ("cuda", "metal", "gpu")

    @property
    def pool(self) -> str:
        """The memory that a model on this device fills: ``cpu`` or ``gpu:N``.

        Metal shares its memory with the CPU, so that its pool is ``cpu``. A wish has no pool yet.
        """
        if self.kind == "cuda":
            return f"gpu:{self.index or 0}"
        if self.kind in ("cpu", "metal"):
            return "cpu"
        raise ValidationError(
            f"device {str(self)!r} has no memory pool until choose_device() has chosen one"
        )

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    def __repr__(self) -> str:
        return f"Device({str(self)!r})"


Device.Cpu = Device("cpu")
Device.Cuda = Device("cuda")
Device.Metal = Device("metal")
Device.Gpu = Device("gpu")
Device.Auto = Device("auto")
