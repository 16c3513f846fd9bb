"""What a loaded Whisper hears in a piece of sound: plain blocking code, for the model's thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import InferenceError
from blazen.types.transcription import Segment
from blazen_whispercpp.engine import Engine
from blazen_whispercpp.tokens import (
    Token,
    is_rushed,
    text_of,
    whole_characters,
    without_loops,
    words_of,
)

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

RATE = 16_000
WINDOW_SECONDS = 30.0
"""How much Whisper hears at once, at the most."""
_PLACES_A_SECOND = 50
"""How many places the engine's encoder has for a second of sound."""
_SILENCE_SECONDS = 3.0
"""So much silence the encoder has behind a window: without any, Whisper says things twice."""
_SHORTEST = round(1.25 * RATE)
"""Below a second whisper.cpp hears nothing: silence is put behind it."""
_STEP_SECONDS = 0.5
"""How far a pass gets at the least, so that odd times can't keep it in one place."""


@dataclass(frozen=True)
class HearingSettings:
    """How to hear: a request's and the model's settings, settled."""

    language: str
    """A code that the model knows."""
    translate: bool = False
    prompt: str | None = None
    words: bool = False
    temperature: float = 0.0
    fallback: bool = True
    window: float = WINDOW_SECONDS
    """How many seconds are heard at once: a shorter window costs less."""


@dataclass(frozen=True)
class Heard:
    """What was heard in a window, and up to where; what follows is to be heard again."""

    segments: list[Segment]
    """Their times are in seconds from the start of the window."""
    seconds: float


def hear(engine: Engine, job: Job, samples: Floats, settings: HearingSettings) -> list[Segment]:
    """Hear 16 kHz mono samples to their end; times are in seconds from their start.

    It raises `InferenceError` where the job is cancelled or the engine fails.
    """
    segments = list[Segment]()
    start = 0
    while start < max(1, len(samples)):
        window = samples[start : start + round(settings.window * RATE)]
        heard = hear_window(engine, job, window, settings)
        segments += [moved(segment, start / RATE) for segment in heard.segments]
        start += max(1, round(heard.seconds * RATE))
        if len(samples) - start < RATE // 10:
            break
    return segments


def hear_window(engine: Engine, job: Job, samples: Floats, settings: HearingSettings) -> Heard:
    """Hear at most a window's seconds, once."""
    import _pywhispercpp as binding
    import numpy as np

    _expect_caller(job)
    length = len(samples)
    if length < _SHORTEST:
        samples = np.concatenate([samples, np.zeros(_SHORTEST - length, np.float32)])
    samples = np.ascontiguousarray(samples, np.float32)
    begun = list[bool]()
    reached = [0]

    def begin(_: object) -> bool:
        # The engine goes on after what it heard well. A second pass is ours to begin.
        begun.append(True)
        return len(begun) == 1 and not job.cancelled

    def progress(percent: int) -> None:
        reached[0] = percent

    params = make_params(engine, settings)
    binding.assign_progress_callback(params, progress)
    binding.assign_encoder_begin_callback(params, begin)
    binding.assign_abort_callback(params, lambda: job.cancelled)
    with engine.log.held(lambda: job.cancelled):
        code = binding.whisper_full(engine.context, params, samples, len(samples))
    _expect_caller(job)
    if code != 0:
        raise InferenceError(
            f"whisper.cpp failed with code {code}: {engine.log.problem() or 'it gave no reason'}"
        )
    total = len(samples) / RATE
    heard, rushed = _read(engine, settings, length / RATE)
    if rushed and settings.window < WINDOW_SECONDS:
        return hear_window(engine, job, samples[:length], replace(settings, window=WINDOW_SECONDS))
    if len(begun) < 2:
        return Heard(heard, length / RATE)
    last = binding.whisper_full_n_segments(engine.context) - 1
    end = binding.whisper_full_get_segment_t1(engine.context, last) / 100 if last >= 0 else 0.0
    if int(100 * end / total) != reached[0]:  # it also left out a stretch without text
        end = max(end, reached[0] * total / 100)
    return Heard(heard, min(length / RATE, max(end, _STEP_SECONDS)))


def moved(segment: Segment, seconds: float) -> Segment:
    """Give the segment with all its times later by some seconds, in whole milliseconds."""

    def later(time: float) -> float:
        # Never rounded up: the end would lie beyond the sound's.
        return int((time + seconds) * 1000 + 1e-3) / 1000

    words = tuple(
        replace(word, start=later(word.start), end=later(word.end)) for word in segment.words
    )
    return replace(segment, start=later(segment.start), end=later(segment.end), words=words)


def make_params(engine: Engine, settings: HearingSettings) -> Any:
    """Give the engine's own form of the settings."""
    import _pywhispercpp as binding

    params = binding.whisper_full_default_params(
        binding.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
    )
    params.n_threads = engine.threads
    params.language = settings.language
    params.translate = settings.translate
    params.no_context = True
    params.temperature = settings.temperature
    # The engine tries all temperatures up to 1: above that it would try none.
    params.temperature_inc = 0.2 if settings.fallback and settings.temperature <= 1 else 0.0
    params.token_timestamps = settings.words
    places = round((settings.window + _SILENCE_SECONDS) * _PLACES_A_SECOND)
    if places < WINDOW_SECONDS * _PLACES_A_SECOND:
        # In steps that the engine's sums like.
        params.audio_ctx = -(-places // 64) * 64
    params.print_realtime = False
    if settings.prompt:
        params.initial_prompt = settings.prompt
    # Without this flag the engine does not report how far it got; with a callback nothing is
    # printed.
    params.print_progress = True
    return params


def _read(engine: Engine, settings: HearingSettings, length: float) -> tuple[list[Segment], bool]:
    """Take the segments out of the engine, and say whether one is quicker than anyone speaks."""
    import _pywhispercpp as binding

    context, end_of_text = engine.context, engine.end_of_text
    spans, tokens, sums = list[tuple[float, float]](), list[list[Token]](), list[float]()
    for index in range(binding.whisper_full_n_segments(context)):
        spans.append(
            (
                binding.whisper_full_get_segment_t0(context, index) / 100,
                binding.whisper_full_get_segment_t1(context, index) / 100,
            )
        )
        found, logs = list[Token](), list[float]()
        for place in range(binding.whisper_full_n_tokens(context, index)):
            data = binding.whisper_full_get_token_data(context, index, place)
            logs.append(data.plog)
            if data.id < end_of_text:
                piece = binding.whisper_token_to_bytes(context, data.id)
                found.append(Token(data.id, piece, data.t0 / 100, data.t1 / 100, data.p))
        tokens.append(found)
        sums.append(sum(logs) / max(1, len(logs)))
    heard, rushed = list[Segment](), False
    before = 0.0
    for index, found in enumerate(whole_characters(tokens)):
        start = max(before, min(spans[index][0], length))
        end = max(start, min(spans[index][1], length))
        rushed = rushed or is_rushed(found, end - start)
        found = without_loops(found, end - start)
        text = text_of(found)
        if not text.strip() or (start >= length and heard):
            continue
        words = words_of(found, settings.language, start, end) if settings.words else []
        heard.append(
            Segment(
                text,
                start,
                end,
                tuple(words),
                no_speech_probability=engine.no_speech_probability(index),
                avg_logprob=sums[index],
            )
        )
        before = end
    return heard, rushed


def _expect_caller(job: Job) -> None:
    if job.cancelled:
        raise InferenceError("the transcription was stopped")
