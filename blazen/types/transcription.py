"""Speech becomes text: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.types.audio import Audio
from blazen.types.record import Record
from blazen.types.route import Route
from blazen.types.stream import Stream


@dataclass(frozen=True)
class TranscriptionRequest(Record):
    """An audio, and how to hear it."""

    audio: Audio
    language: str | None = None
    """A code such as ``en``; ``None`` takes the model's setting, ``auto`` has it found out."""
    translate: bool = False
    """Translate into English."""
    prompt: str | None = None
    """What was said before, or how names are spelt."""
    words: bool = False
    """Give the time of each word."""
    temperature: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "audio", Audio.of(self.audio))
        check_range("temperature", self.temperature, at_least=0)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **settings: Any) -> TranscriptionRequest:
        """Transcribe a file of any common format."""
        return cls(Audio.from_file(path), **settings)


def as_request(request: Any) -> TranscriptionRequest:
    """Give a request; an audio, or whatever `Audio.of` takes, becomes one."""
    if isinstance(request, TranscriptionRequest):
        return request
    if isinstance(request, Mapping):
        return TranscriptionRequest.from_dict(request)
    return TranscriptionRequest(Audio.of(request))


@dataclass(frozen=True)
class Word(Record):
    """A word and when it was said, in seconds."""

    text: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True)
class Segment(Record):
    """A stretch of speech, in seconds from the start of the audio."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()
    no_speech_probability: float | None = None

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValidationError(
                f"a segment can't end ({self.end}) before it starts ({self.start})"
            )


@dataclass(frozen=True)
class TranscriptionResponse(Record):
    """What was said."""

    text: str
    segments: tuple[Segment, ...] = ()
    language: str | None = None
    language_probability: float | None = None
    duration: float | None = None
    """How long the audio is, in seconds."""
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""


@dataclass(frozen=True)
class TranscriptionChunk(Record):
    """A piece of a transcript as it is heard."""

    text: str
    segment: Segment | None = None
    final: bool = True
    """Whether this stretch is settled; what is not may be said anew by the next piece."""
    language: str | None = None
    duration: float | None = None


class TranscriptionStream(Stream[TranscriptionChunk, TranscriptionResponse]):
    """A transcript in pieces."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._texts: list[str] = []
        self._segments: list[Segment] = []
        self._tentative = ""
        self._language: str | None = None
        self._duration: float | None = None

    def _add(self, piece: TranscriptionChunk) -> None:
        self._language = piece.language or self._language
        self._duration = piece.duration or self._duration
        self._tentative = "" if piece.final else piece.text
        if piece.final:
            self._texts.append(piece.text)
            if piece.segment is not None:
                self._segments.append(piece.segment)

    @property
    def response(self) -> TranscriptionResponse:
        """The transcript so far."""
        return TranscriptionResponse(
            text="".join([*self._texts, self._tentative]).strip(),
            segments=tuple(self._segments),
            language=self._language,
            duration=self._duration,
            route=self.route,
        )
