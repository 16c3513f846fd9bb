"""Speech becomes text: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.types.audio import Audio
from blazen.types.live import LiveAudio
from blazen.types.record import Record
from blazen.types.route import Route
from blazen.types.stream import Stream


@dataclass(frozen=True)
class TranscriptionRequest(Record):
    """An audio, and how to hear it."""

    audio: Audio | LiveAudio
    language: str | None = None
    """A code such as ``en``; ``None`` takes the model's setting, ``auto`` has it found out."""
    translate: bool = False
    """Translate into English."""
    prompt: str | None = None
    """What was said before, or how names are spelt."""
    words: bool = False
    """Give the time of each word."""
    temperature: float | None = None
    """From 0, the likeliest words; more than 1 invents them."""
    diarize: bool = False
    """Tell who speaks; a model that can't refuses."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "audio", _sound(self.audio))
        check_range("temperature", self.temperature, at_least=0, at_most=2)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **settings: Any) -> TranscriptionRequest:
        """Transcribe a file of any common format."""
        return cls(Audio.from_file(path), **settings)


def as_request(request: Any) -> TranscriptionRequest:
    """Give a request; an audio, or whatever `Audio.of` takes, becomes one.

    An asynchronous iterator of sound becomes one of `LiveAudio`.
    """
    if isinstance(request, TranscriptionRequest):
        return request
    if isinstance(request, Mapping):
        return TranscriptionRequest.from_dict(request)
    return TranscriptionRequest(_sound(request))


def _sound(value: Any) -> Audio | LiveAudio:
    if isinstance(value, (LiveAudio, AsyncIterable)):
        return LiveAudio.of(value)
    return Audio.of(value)


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
    avg_logprob: float | None = None
    """The mean logarithm of its tokens' probabilities: the nearer to 0, the surer."""
    language: str | None = None
    """The language it was heard in, where the model tells that for each stretch."""
    speaker: str | None = None
    """Who spoke, where that was asked for."""

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValidationError(
                f"a segment can't end ({self.end}) before it starts ({self.start})"
            )


@dataclass(frozen=True)
class LanguageGuess(Record):
    """The language that a sound seems to be in."""

    language: str
    probability: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Of each language that the model knows, the likeliest first."""


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

    def render(
        self,
        format: str = "txt",  # noqa: A002 - the word of `save`
        *,
        max_line_width: int | None = None,
        max_lines: int | None = None,
        words: bool = False,
    ) -> str:
        """Write it as txt, srt, vtt, tsv (times in milliseconds) or json.

        In subtitles a line is at most ``max_line_width`` characters wide, and what needs more than
        ``max_lines`` of them is shown one part after another. With ``words`` each word is shown
        by itself, which takes a transcript that was asked for with ``words=True``.
        """
        from blazen.types.subtitles import render

        return render(self, format, max_line_width=max_line_width, max_lines=max_lines, words=words)

    def save(
        self,
        path: str | PathLike[str],
        format: str | None = None,  # noqa: A002 - as Audio names it
        **layout: Any,
    ) -> Path:
        """Write a file in the format of its suffix; the rest is as `render` takes it."""
        from blazen.types.source import write_file

        chosen = Path(path).suffix.lstrip(".").lower() if format is None else format
        # Half a character, which an engine may leave at a cut, has no bytes.
        data = self.render(chosen, **layout).encode("utf-8", "replace")
        return write_file(path, lambda file: file.write(data))


@dataclass(frozen=True)
class TranscriptionChunk(Record):
    """A piece of a transcript as it is heard. One without text only tells how far it is."""

    text: str
    segment: Segment | None = None
    final: bool = True
    """Whether this stretch is settled; what is not may be said anew by the next piece."""
    language: str | None = None
    duration: float | None = None
    position: float | None = None
    """How many seconds of the sound are done with; of `duration`, where that is known."""
    language_probability: float | None = None


class TranscriptionStream(Stream[TranscriptionChunk, TranscriptionResponse]):
    """A transcript in pieces."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._texts: list[str] = []
        self._segments: list[Segment] = []
        self._tentative = ""
        self._language: str | None = None
        self._language_probability: float | None = None
        self._duration: float | None = None

    def _add(self, piece: TranscriptionChunk) -> None:
        if piece.language is not None:
            self._language = piece.language
            self._language_probability = piece.language_probability
        if piece.duration is not None:
            self._duration = piece.duration
        if piece.final and not piece.text and piece.segment is None:
            return
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
            language_probability=self._language_probability,
            duration=self._duration,
            route=self.route,
        )
