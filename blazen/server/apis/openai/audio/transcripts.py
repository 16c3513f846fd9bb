"""Transcripts as OpenAI's API writes them: JSON, text, subtitles."""

from __future__ import annotations

import zlib
from typing import Literal

from fastapi import Response
from pydantic import BaseModel

from blazen.types.transcription import Segment, TranscriptionResponse

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")


class Seconds(BaseModel):
    """How much sound was heard."""

    type: Literal["duration"]
    seconds: float


class Transcript(BaseModel):
    """What was said."""

    text: str
    usage: Seconds | None = None


class HeardSegment(BaseModel):
    """A stretch of speech, in seconds from the start."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    """Empty: the engines do not tell them."""
    temperature: float | None
    avg_logprob: float | None
    compression_ratio: float
    no_speech_prob: float | None


class HeardWord(BaseModel):
    """A word and when it was said."""

    word: str
    start: float
    end: float


class VerboseTranscript(BaseModel):
    """What was said, and when."""

    task: Literal["transcribe", "translate"]
    language: str | None
    duration: float | None
    text: str
    segments: list[HeardSegment] | None = None
    words: list[HeardWord] | None = None
    usage: Seconds | None = None


def written(
    heard: TranscriptionResponse,
    form: str,
    *,
    translated: bool,
    temperature: float | None,
    wanted: frozenset[str],
) -> Response:
    """Give a transcript in one of the `FORMATS`."""
    if form == "text":
        return _text(f"{heard.text}\n")
    if form in ("srt", "vtt"):
        return _text(heard.render(form, words="word" in wanted))
    usage = None
    if heard.duration is not None:
        usage = Seconds(type="duration", seconds=heard.duration)
    if form == "json":
        return _json(Transcript(text=heard.text, usage=usage))
    segments = words = None
    if "segment" in wanted:
        segments = [
            _segment(number, segment, temperature) for number, segment in enumerate(heard.segments)
        ]
    if "word" in wanted:
        words = [
            HeardWord(word=word.text.strip(), start=word.start, end=word.end)
            for segment in heard.segments
            for word in segment.words
        ]
    return _json(
        VerboseTranscript(
            task="translate" if translated else "transcribe",
            language=heard.language,
            duration=heard.duration,
            text=heard.text,
            segments=segments,
            words=words,
            usage=usage,
        )
    )


def _segment(number: int, segment: Segment, temperature: float | None) -> HeardSegment:
    raw = segment.text.encode("utf-8", "replace")
    return HeardSegment(
        id=number,
        seek=round(segment.start * 100),
        start=segment.start,
        end=segment.end,
        text=segment.text,
        tokens=[],
        temperature=temperature,
        avg_logprob=segment.avg_logprob,
        # How much a text repeats itself shows in how well it packs.
        compression_ratio=len(raw) / len(zlib.compress(raw)),
        no_speech_prob=segment.no_speech_probability,
    )


def _text(text: str) -> Response:
    return Response(text.encode("utf-8", "replace"), media_type="text/plain; charset=utf-8")


def _json(answer: BaseModel) -> Response:
    # Half a character, which an engine may leave at a cut, has no place in UTF-8.
    import json

    data = answer.model_dump(mode="json", exclude_none=isinstance(answer, Transcript))
    if isinstance(answer, VerboseTranscript):
        data = {name: value for name, value in data.items() if value is not None or name in _ALWAYS}
    return Response(json.dumps(data, allow_nan=False), media_type="application/json")


_ALWAYS = frozenset({"language", "duration"})
