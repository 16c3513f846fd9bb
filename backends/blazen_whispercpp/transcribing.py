"""A whole sound, window by window, to the pieces of its transcript."""

from __future__ import annotations

import re
from dataclasses import replace

from blazen.bridge import Job, StreamJob
from blazen.errors import InferenceError, UnsupportedError, ValidationError
from blazen.options import WhisperOptions
from blazen.types.audio import Audio
from blazen.types.transcription import (
    LanguageGuess,
    Segment,
    TranscriptionChunk,
    TranscriptionRequest,
)
from blazen_whispercpp.engine import Engine
from blazen_whispercpp.hearing import RATE, HearingSettings, hear_window, moved
from blazen_whispercpp.languages import guess_language
from blazen_whispercpp.settling import check_model, settle
from blazen_whispercpp.tokens import QUICKEST, UNSPACED
from blazen_whispercpp.windows import SHORTEST, Sound, Window

_BLOCK_SECONDS = 1.0
_LEFT = RATE // 5
"""So much speech must be left of a window for it to be heard on."""
_SPOKEN_SHARE = 0.1
_SURE = -0.5
_LIKELY_SILENT = 0.6
_STUCK = 4
_BRACKETED = re.compile(r"\s*[\[(（♪*].*[\])）♪*]\s*", re.DOTALL)
_BLANK = re.compile(r"\s*\[\s*(BLANK_AUDIO|SILENCE)\s*\]\s*", re.IGNORECASE)


def transcribe(
    engine: Engine,
    job: StreamJob[TranscriptionChunk],
    request: TranscriptionRequest,
    options: WhisperOptions,
    title: str,
) -> None:
    """Emit each segment as it is settled, and after each window how far it is."""
    audio = request.audio
    assert isinstance(audio, Audio)
    check_model(engine, request, options, title)
    sound = sound_of(audio, options)
    duration = audio.known_duration
    job.emit(TranscriptionChunk("", position=0.0, duration=duration))
    settings: HearingSettings | None = None
    kept = Kept()
    at = 0
    while (window := sound.window(at)) is not None:
        if job.cancelled:
            raise InferenceError("the transcription was stopped")
        at = window.last
        if window.first < window.last:
            samples = sound.samples(window)
            if settings is None:
                settings, guess = settle(engine, job, request, options, samples)
                job.emit(
                    TranscriptionChunk(
                        "",
                        language=settings.language,
                        language_probability=guess.probability if guess else None,
                        duration=duration,
                        position=window.first / RATE,
                    )
                )
            heard = hear_window(engine, job, samples, settings)
            speech = sound.speech(window.first, window.last)
            for one in heard.segments:
                segment = kept.take(one, window.first / RATE, speech)
                if segment is not None:
                    job.emit(kept.piece(segment, settings.language, duration))
            at = _reached(window, round(heard.seconds * RATE), speech)
        if sound.ended:
            duration = sound.total / RATE
        job.emit(TranscriptionChunk("", position=at / RATE, duration=duration))
    # Only now it is certain how long the sound is: some files' headers are wrong.
    if (at / RATE, duration) != (sound.total / RATE, sound.total / RATE):
        duration = sound.total / RATE
        job.emit(TranscriptionChunk("", position=duration, duration=duration))


def guess(
    engine: Engine, job: Job, audio: Audio, options: WhisperOptions, title: str
) -> LanguageGuess:
    """Guess the language from the first window in which someone speaks, if there is one."""
    if not engine.multilingual:
        raise UnsupportedError(
            f"{title} hears English only and can't tell languages: take a model without '.en', "
            "such as 'base'"
        )
    sound = sound_of(audio, options)
    at = 0
    while (window := sound.window(at)) is not None and window.first == window.last:
        if job.cancelled:
            raise InferenceError("the search for the language was stopped")
        at = window.last
    if window is None:  # no one speaks: what there is must do
        sound = sound_of(audio, replace(options, vad=False))
        window = sound.window(0)
    if window is None:
        raise ValidationError("there is no sound to find a language in: it has no samples")
    return guess_language(engine, job, sound.samples(window))


def sound_of(audio: Audio, options: WhisperOptions) -> Sound:
    """Give a sound that is read piece by piece, as the engine wants it."""
    blocks = audio.blocks(_BLOCK_SECONDS, sample_rate=RATE, channels=1)
    return Sound(blocks, round(options.window * RATE), vad=options.vad)


class Kept:
    """Leaves out what Whisper invents, and remembers what was said before."""

    def __init__(self) -> None:
        self._end = 0.0
        self._text = ""
        self._times = 0
        self._begun = False

    def take(self, one: Segment, offset: float, speech: list[tuple[int, int]]) -> Segment | None:
        """Give a segment with its times in the whole sound; ``None`` where no one said it."""
        segment = moved(one, offset)
        spoken = _spoken(segment, speech)
        if _is_invented(segment, spoken) or self._is_stuck(segment, spoken):
            return None
        start = max(self._end, segment.start)
        segment = replace(segment, start=start, end=max(start, segment.end))
        self._end = segment.end
        return segment

    def piece(self, segment: Segment, language: str, duration: float | None) -> TranscriptionChunk:
        """Give the piece of the transcript that says a segment, with a space before it."""
        text = segment.text
        if self._begun and language not in UNSPACED and not text[:1].isspace():
            text = f" {text}"
        self._begun = True
        return TranscriptionChunk(
            text,
            replace(segment, text=segment.text.strip()),
            duration=duration,
            position=segment.end,
        )

    def _is_stuck(self, segment: Segment, spoken: float) -> bool:
        """Say whether a sentence comes again and again, and sooner than anyone could say it."""
        plain = segment.text.strip().lower()
        self._times = self._times + 1 if plain == self._text else 1
        self._text = plain
        return self._times >= _STUCK and len(plain) > QUICKEST * spoken


def _spoken(segment: Segment, speech: list[tuple[int, int]]) -> float:
    """Give for how many seconds of a segment someone speaks."""
    first, last = segment.start * RATE, segment.end * RATE
    return sum(max(0.0, min(b, last) - max(a, first)) for a, b in speech) / RATE


def _is_invented(segment: Segment, spoken: float) -> bool:
    likely_silent = (segment.no_speech_probability or 0.0) > _LIKELY_SILENT
    if _BLANK.fullmatch(segment.text) or (likely_silent and _BRACKETED.fullmatch(segment.text)):
        return True
    unsure = likely_silent or (segment.avg_logprob or 0.0) < _SURE
    return unsure and spoken < _SPOKEN_SHARE * (segment.end - segment.start)


def _reached(window: Window, heard: int, speech: list[tuple[int, int]]) -> int:
    """Say where to go on: after the window, unless someone speaks in what was not heard well."""
    at = window.first + heard
    left = sum(max(0, b - max(a, at)) for a, b in speech)
    return window.last if window.last - at < SHORTEST or left < _LEFT else at
