"""Options of speech with Piper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike

from blazen.checks import check_range
from blazen.hardware import Device
from blazen.options.checks import check_lexicon, check_place, check_target
from blazen.options.isolation import Isolated


@dataclass(frozen=True)
class PiperOptions:
    """Speech with Piper's voices, through ONNX Runtime."""

    voice: str | PathLike[str]
    """A voice's name (``en_US-joe-medium``), an ``.onnx`` file, a hub id, a starter."""
    _: KW_ONLY
    speaker: str | int | None = None
    """Who speaks, by name or number, where the voice has several; ``None`` is its first."""
    speed: float = 1.0
    volume: float = 1.0
    """What goes beyond full scale is bent below it."""
    noise: float | None = None
    """How much the sound varies; ``None`` is the voice's own."""
    rhythm_noise: float | None = None
    """How much the lengths of sounds vary; ``None`` is the voice's own."""
    pause: float = 0.2
    """Seconds of silence between sentences."""
    normalise: bool = True
    """Write numbers, dates and abbreviations out before they are spoken, where that helps."""
    lexicon: Mapping[str, str] = field(default_factory=dict)
    """How words are to be said, by their spelling: ``{"nginx": "engine x"}``."""
    device: Device | str = "cpu"
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        check_target("voice", self.voice)
        if not isinstance(self.speaker, str):
            check_range("speaker", self.speaker, at_least=0, integer=True)
        check_range("speed", self.speed, at_least=0.1, at_most=10)
        check_range("volume", self.volume, at_least=0, at_most=10)
        check_range("noise", self.noise, at_least=0, at_most=2)
        check_range("rhythm_noise", self.rhythm_noise, at_least=0, at_most=2)
        check_range("pause", self.pause, at_least=0, at_most=60)
        check_lexicon(self.lexicon)
        check_place(self.device, self.threads)
