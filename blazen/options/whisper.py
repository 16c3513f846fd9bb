"""Options of transcription with Whisper."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from os import PathLike

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.hardware import Device
from blazen.options.checks import check_place, check_target
from blazen.options.isolation import Isolated


class WhisperModel(str, Enum):
    """The published sizes of Whisper; those that end in ``En`` hear English only."""

    Tiny = "tiny"
    TinyEn = "tiny.en"
    Base = "base"
    BaseEn = "base.en"
    Small = "small"
    SmallEn = "small.en"
    Medium = "medium"
    MediumEn = "medium.en"
    LargeV1 = "large-v1"
    LargeV2 = "large-v2"
    LargeV3 = "large-v3"
    LargeV3Turbo = "large-v3-turbo"


@dataclass(frozen=True)
class WhisperOptions:
    """Whisper through whisper.cpp."""

    model: WhisperModel | str | PathLike[str] = WhisperModel.Base
    """A size, also quantised (``base-q5_1``), a ggml file (a path, a hub id with the file, a URL),
    or ``starter:transcribe``."""
    _: KW_ONLY
    language: str | None = "auto"
    """A code such as ``en``; ``auto`` has it found out, for each request anew."""
    vad: bool = True
    """Leave out where no one speaks: Whisper invents words there."""
    temperature_fallback: bool = True
    """Hear a stretch again, more freely, where the first try went wrong."""
    window: float = 30.0
    """How many seconds are heard at once, from 5 to 30. Each window costs as much as a full one,
    however little is said in it: for short sounds 10 is about twice as quick. Words at its ends
    have less around them, and are heard a little less well."""
    threads: int | None = None
    device: Device | str = "auto"
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        check_target("model", self.model)
        if self.language is not None and not isinstance(self.language, str):
            raise ValidationError(f"language must be a code such as 'en', not {self.language!r}")
        check_range("window", self.window, at_least=5, at_most=30)
        check_place(self.device, self.threads)
