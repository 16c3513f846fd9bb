"""Which languages a Whisper hears, and which one a sound is in."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

from blazen.bridge import Job
from blazen.checks import unknown_name
from blazen.errors import InferenceError, UnsupportedError, ValidationError
from blazen.types.transcription import LanguageGuess
from blazen_whispercpp.engine import Engine, native

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

AUTO = "auto"


@functools.cache
def language_codes() -> tuple[str, ...]:
    """Give all codes, at the place of the engine's number."""
    import _pywhispercpp as binding

    return tuple(
        binding.whisper_lang_str(number) for number in range(binding.whisper_lang_max_id() + 1)
    )


def language_code(text: str) -> str:
    """Give the code of what a user wrote: ``de``, ``DE``, ``de-AT`` or ``german``."""
    plain, known = text.strip().lower(), _names()
    if plain == AUTO:
        return AUTO
    for form in (plain, plain.replace("_", "-").partition("-")[0]):
        if form in known:
            return known[form]
    raise ValidationError(unknown_name("language", text, known))


@functools.cache
def _names() -> dict[str, str]:
    """Give the code for each code and, where the engine tells them, for each name."""
    full = native("whisper_lang_str_full", ctypes.c_char_p)
    known = {code: code for code in language_codes()}
    if full is not None:
        for number, code in enumerate(language_codes()):
            known[full(ctypes.c_int(number)).decode()] = code
    return known


def expect_language(engine: Engine, code: str, title: str) -> None:
    """Refuse a language that the model does not hear."""
    if not engine.multilingual and code not in ("en", AUTO):
        raise UnsupportedError(
            f"{title} hears English only, not {code!r}: take a model without '.en', such as 'base'"
        )


def guess_language(engine: Engine, job: Job, samples: Floats) -> LanguageGuess:
    """Listen to the first 30 seconds of 16 kHz mono samples for the language."""
    import _pywhispercpp as binding
    import numpy as np

    if job.cancelled:
        raise InferenceError("the transcription was stopped")
    length = max(len(samples), 20_000)
    padded = np.zeros(length, np.float32)
    padded[: len(samples)] = samples
    found = np.zeros(len(language_codes()), np.float32)
    to_mel = native("whisper_pcm_to_mel", ctypes.c_int)
    detect = native("whisper_lang_auto_detect", ctypes.c_int)
    engine.log.start()
    if to_mel is None or detect is None or engine.address is None:
        binding.whisper_pcm_to_mel(engine.context, padded, length, engine.threads)
        best = binding.whisper_lang_auto_detect(engine.context, 0, engine.threads, found)
    else:
        # The binding would hold the interpreter's lock all the while, and so the event loop up.
        context, threads = ctypes.c_void_p(engine.address), ctypes.c_int(engine.threads)
        sound = ctypes.c_void_p(padded.ctypes.data)
        to_mel(context, sound, ctypes.c_int(length), threads)
        best = detect(context, ctypes.c_int(0), threads, ctypes.c_void_p(found.ctypes.data))
    if best < 0:
        raise InferenceError(
            f"whisper.cpp found no language: {engine.log.problem() or f'code {best}'}"
        )
    order = np.argsort(-found, kind="stable")
    likely = {language_codes()[place]: float(found[place]) for place in order.tolist()}
    code = language_codes()[best]
    return LanguageGuess(code, likely[code], likely)
