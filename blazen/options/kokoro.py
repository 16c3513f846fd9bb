"""Options of speech with Kokoro."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike

from blazen.checks import check_range, check_texts
from blazen.hardware import Device
from blazen.options.checks import check_lexicon, check_place, check_target
from blazen.options.isolation import Isolated


@dataclass(frozen=True)
class KokoroOptions:
    """Speech with Kokoro-82M, through ONNX Runtime."""

    model: str | PathLike[str] = "onnx-community/Kokoro-82M-v1.0-ONNX"
    """A folder with the ONNX file and its voices, a hub id, or ``starter:speak-kokoro``."""
    _: KW_ONLY
    voice: str | None = None
    """A voice's name, or a blend: ``"af_heart:2,am_adam:1"``; ``None`` is the first there is."""
    language: str | None = None
    """A code such as ``en-us``; ``None`` is the voice's own, or English where a Japanese or Chinese
    voice has a text in other letters."""
    speed: float = 1.0
    pause: float = 0.2
    """Seconds of silence between sentences."""
    normalise: bool = True
    """Write numbers, dates and abbreviations out before they are spoken, where that helps."""
    lexicon: Mapping[str, str] = field(default_factory=dict)
    """How words are to be said, by their spelling: ``{"nginx": "engine x"}``, or as phonemes in
    ``[[ ]]``."""
    device: Device | str = "cpu"
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        check_target("model", self.model)
        check_texts(voice=self.voice, language=self.language)
        check_range("speed", self.speed, at_least=0.1, at_most=10)
        check_range("pause", self.pause, at_least=0, at_most=60)
        check_lexicon(self.lexicon)
        check_place(self.device, self.threads)
