"""A transcript as the API gives it, whole or event by event, in our pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from blazen.errors import ValidationError
from blazen.remote.sdk import Sdk
from blazen.types.transcription import Segment, TranscriptionChunk, Word
from blazen_openai.asking import checked, field
from blazen_openai.languages import language_code

_NUMBERS = (int, float)


class Transcript:
    """One answer on its way."""

    def __init__(self, sdk: Sdk[Any], seconds: float | None) -> None:
        self._sdk = sdk
        self._seconds = seconds
        self._tentative = ""
        self._segments = 0
        self._said = ""
        self._ended = False

    def whole(self, answer: Any) -> Iterator[TranscriptionChunk]:
        """Give the pieces of a whole answer, one for each of its segments."""
        text = field(self._sdk, answer, "text", str)
        segments = [self._segment(each) for each in self._list(answer, "segments")]
        words = [self._word(each) for each in self._list(answer, "words")]
        segments = _with_words(segments, words)
        joined = self._joined(segments)
        # Where the text is more than its segments, it is given whole, and they add their times.
        split = "".join(joined).strip() == text.strip() or any(one.speaker for one in segments)
        for place, segment in enumerate(segments):
            said = joined[place] if split else "" if place else text
            yield TranscriptionChunk(said, _stripped(segment), position=segment.end)
        if text and not segments:
            yield TranscriptionChunk(text)
        yield self._last(answer)

    def add(self, event: Any) -> Iterator[TranscriptionChunk]:
        """Give what an event says."""
        checked(self._sdk, event)
        kind = getattr(event, "type", None)
        if kind == "transcript.text.delta":
            delta = field(self._sdk, event, "delta", str)
            if getattr(event, "segment_id", None) is None:
                self._said += delta
                yield TranscriptionChunk(delta)
            else:  # its segment says it anew, with times and speaker
                self._tentative += delta
                yield TranscriptionChunk(self._tentative, final=False)
        elif kind == "transcript.text.segment":
            segment = self._segment(event)
            text = self._joined([segment])[0]
            self._segments += 1
            self._tentative = ""
            yield TranscriptionChunk(text, _stripped(segment), position=segment.end)
        elif kind == "transcript.text.done":
            text = field(self._sdk, event, "text", str)
            self._ended = True
            if not self._segments and len(text) > len(self._said) and text.startswith(self._said):
                yield TranscriptionChunk(text[len(self._said) :])
            yield self._last(event)

    def expect_end(self) -> None:
        """Refuse a stream that breaks off as if it were whole."""
        if not self._ended:
            raise self._sdk.malformed("a transcript that ends before it says that it is done")

    def _last(self, told: Any) -> TranscriptionChunk:
        language = getattr(told, "language", None)
        if not isinstance(language, str):
            codes = [getattr(one, "code", None) for one in self._list(told, "languages")]
            language = next((code for code in codes if isinstance(code, str)), None)
        duration = getattr(told, "duration", None)
        # Groq, among others, writes the number as a text.
        if not isinstance(duration, _NUMBERS) or isinstance(duration, bool):
            duration = self._seconds
        return TranscriptionChunk(
            "", language=language_code(language), duration=duration, position=duration
        )

    def _joined(self, segments: list[Segment]) -> list[str]:
        """Give the segments' texts with the blanks between them, which only Whisper's have."""
        return [
            f" {one.text}" if one.speaker and (place or self._segments) else one.text
            for place, one in enumerate(segments)
        ]

    def _list(self, told: Any, name: str) -> list[Any]:
        value = getattr(told, name, None)
        if value is None:
            return []
        return field(self._sdk, told, name, list)

    def _segment(self, told: Any) -> Segment:
        start, end = self._times(told)
        speaker = getattr(told, "speaker", None)
        try:
            return Segment(
                field(self._sdk, told, "text", str),
                start,
                end,
                no_speech_probability=_number(told, "no_speech_prob"),
                avg_logprob=_number(told, "avg_logprob"),
                speaker=speaker if isinstance(speaker, str) else None,
            )
        except ValidationError as error:
            raise self._sdk.malformed(str(error), error) from error

    def _word(self, told: Any) -> Word:
        return Word(field(self._sdk, told, "word", str).strip(), *self._times(told))

    def _times(self, told: Any) -> tuple[float, float]:
        start, end = _number(told, "start"), _number(told, "end")
        if start is None or end is None:
            raise self._sdk.malformed(f"no times in {told!r:.80}")
        return start, end


def _number(told: Any, name: str) -> float | None:
    value = getattr(told, name, None)
    return float(value) if isinstance(value, _NUMBERS) and not isinstance(value, bool) else None


def _stripped(segment: Segment) -> Segment:
    from dataclasses import replace

    return replace(segment, text=segment.text.strip())


def _with_words(segments: list[Segment], words: list[Word]) -> list[Segment]:
    """Put each word to the segment in whose time its middle lies."""
    if not words:
        return segments
    from dataclasses import replace

    if not segments:
        text = " ".join(word.text for word in words)
        return [Segment(text, words[0].start, max(words[-1].end, words[0].start), tuple(words))]
    ends = [after.start for _, after in pairwise(segments)]
    parts: list[list[Word]] = [[] for _ in segments]
    place = 0
    for word in words:
        while place < len(ends) and (word.start + word.end) / 2 >= ends[place]:
            place += 1
        parts[place].append(word)
    return [
        replace(segment, words=tuple(part)) for segment, part in zip(segments, parts, strict=True)
    ]
