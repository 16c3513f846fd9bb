"""From a request and the model's options to settings that the engine can keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blazen.bridge import Job
from blazen.errors import UnsupportedError, ValidationError
from blazen.options import WhisperOptions
from blazen.types.transcription import LanguageGuess, TranscriptionRequest
from blazen_whispercpp.engine import Engine
from blazen_whispercpp.hearing import HearingSettings
from blazen_whispercpp.languages import AUTO, expect_language, guess_language, language_code

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats


def wanted_language(request: TranscriptionRequest, options: WhisperOptions) -> str:
    """Give the code that was asked for, or ``auto``."""
    return language_code(request.language or options.language or AUTO)


def check_request(request: TranscriptionRequest, options: WhisperOptions) -> None:
    """Refuse what no Whisper can do, before one is loaded."""
    if request.diarize:
        raise UnsupportedError(
            "Whisper does not tell who speaks: leave diarize=True out, and join the times of its "
            "segments with those of a diarisation tool"
        )
    wanted_language(request, options)
    if request.prompt is None:
        return
    if not isinstance(request.prompt, str):
        raise ValidationError(f"prompt must be a text, not {request.prompt!r:.80}")
    try:
        request.prompt.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(f"prompt holds half a character: {error}") from error
    if "\0" in request.prompt:
        raise ValidationError("prompt holds a NUL character, where the engine would cut it off")


def check_model(
    engine: Engine, request: TranscriptionRequest, options: WhisperOptions, title: str
) -> None:
    """Refuse what this model can't do."""
    expect_language(engine, wanted_language(request, options), title)
    if request.translate and not engine.translates:
        raise UnsupportedError(
            f"{title} was not taught to translate: take 'base', 'small', 'medium' or 'large-v3'"
        )


def settle(
    engine: Engine,
    job: Job,
    request: TranscriptionRequest,
    options: WhisperOptions,
    samples: Floats,
) -> tuple[HearingSettings, LanguageGuess | None]:
    """Give the settings, and the language that was found out where that was asked for.

    ``samples`` are what the language is found out from: the first window.
    """
    language = wanted_language(request, options)
    guess = None
    if language == AUTO and engine.multilingual:
        guess = guess_language(engine, job, samples)
        language = guess.language
    elif language == AUTO:
        language = "en"
    settings = HearingSettings(
        language,
        translate=request.translate,
        prompt=request.prompt,
        words=request.words,
        temperature=request.temperature or 0.0,
        fallback=options.temperature_fallback,
        window=options.window,
    )
    return settings, guess
