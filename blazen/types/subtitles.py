"""A transcript as text, subtitles, a table or JSON."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from blazen.checks import check_choice, check_range
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.types.transcription import Segment, TranscriptionResponse

FORMATS = ("txt", "srt", "vtt", "tsv", "json")


class Cue(NamedTuple):
    """What is shown from one millisecond to another; its lines are joined by newlines."""

    start: int
    end: int
    text: str


def render(
    response: TranscriptionResponse,
    format: str,  # noqa: A002 - the word of `save`
    *,
    max_line_width: int | None = None,
    max_lines: int | None = None,
    words: bool = False,
) -> str:
    """Give a transcript in one of the `FORMATS`."""
    check_choice("the format of a transcript", format, FORMATS)
    check_range("max_line_width", max_line_width, at_least=1, integer=True)
    check_range("max_lines", max_lines, at_least=1, integer=True)
    if max_lines is not None and max_line_width is None:
        raise ValidationError(
            f"max_lines={max_lines} says nothing without max_line_width: give both"
        )
    if format == "json":
        return response.to_json(indent=2) + "\n"
    if format == "txt":
        lines = [_plain(segment.text, " ") for segment in response.segments]
        return "".join(f"{line}\n" for line in lines or [_plain(response.text)] if line)
    shown = cues(response, max_line_width=max_line_width, max_lines=max_lines, words=words)
    if format == "srt":
        return "\n".join(
            f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{_srt(cue.text)}\n"
            for number, cue in enumerate(shown, start=1)
        )
    if format == "vtt":
        return "WEBVTT\n" + "".join(
            f"\n{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{_vtt(cue.text)}\n"
            for cue in shown
        )
    rows = (f"{cue.start}\t{cue.end}\t{' '.join(cue.text.split())}\n" for cue in shown)
    return "start\tend\ttext\n" + "".join(rows)


def cues(
    response: TranscriptionResponse,
    *,
    max_line_width: int | None = None,
    max_lines: int | None = None,
    words: bool = False,
) -> list[Cue]:
    """Give what is shown, and when: each ends after it begins, and before the next one begins."""
    if words:
        timed = list(_each_word(response))
    else:
        timed = [
            part
            for segment in _segments(response)
            for part in _parts(segment, max_line_width, max_lines)
        ]
    timed = [piece for piece in timed if piece[2]]
    timed.sort(key=lambda piece: piece[0])
    found: list[Cue] = []
    before = 0
    for number, (start, end, text) in enumerate(timed):
        first, last = max(before, _milliseconds(start)), _milliseconds(end)
        if number + 1 < len(timed):
            last = min(last, _milliseconds(timed[number + 1][0]))
        before = max(last, first + 1)  # players leave out what lasts no time
        found.append(Cue(first, before, text))
    return found


def _segments(response: TranscriptionResponse) -> tuple[Segment, ...]:
    from blazen.types.transcription import Segment

    if response.segments or not response.text.strip():
        return response.segments
    if response.duration is None:
        raise ValidationError(
            "this transcript has no times: subtitles need its segments, or its duration"
        )
    return (Segment(response.text, 0.0, response.duration),)


def _each_word(response: TranscriptionResponse) -> Iterator[tuple[float, float, str]]:
    for segment in _segments(response):
        if not segment.words and segment.text.strip():
            raise ValidationError(
                "this transcript has no times of words: ask for them with "
                "TranscriptionRequest(audio, words=True)"
            )
        for word in segment.words:
            yield word.start, word.end, _plain(word.text, " ")


def _parts(
    segment: Segment, width: int | None, most: int | None
) -> Iterator[tuple[float, float, str]]:
    """Break a segment into lines, and show no more of them at a time than asked."""
    text = _plain(segment.text)
    if width is None:
        yield segment.start, segment.end, text
        return
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    size = most or max(1, len(lines))
    shown = [lines[at : at + size] for at in range(0, len(lines), size)]
    letters = [sum(map(_letters, part)) for part in shown]
    total, gone, start = sum(letters), 0, segment.start
    for part, count in zip(shown, letters, strict=True):
        gone += count
        end = segment.end if gone == total else _moment(segment, gone, total)
        yield start, end, "\n".join(part)
        start = end


def _moment(segment: Segment, gone: int, total: int) -> float:
    """Say when so many of a segment's letters have been said."""
    said = 0
    for word in segment.words:
        said += _letters(word.text)
        if said > gone:
            return min(max(word.start, segment.start), segment.end)
    return segment.start + (segment.end - segment.start) * gone / total


def _letters(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _plain(text: str, newline: str = "\n") -> str:
    """Drop blank lines, blanks around lines, and the characters that steer terminals."""
    lines = (
        "".join(c for c in line.replace("\t", " ") if unicodedata.category(c) != "Cc").strip()
        for line in text.splitlines()
    )
    return newline.join(line for line in lines if line)


def _srt(text: str) -> str:
    # The arrow marks a line of times, and SRT knows no way to write it in a text.
    return re.sub("-{2,}>", "->", text)


def _vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _milliseconds(seconds: float) -> int:
    if not math.isfinite(seconds):
        raise ValidationError(f"a segment's time must be a number of seconds, not {seconds!r}")
    return max(0, round(seconds * 1000))


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{rest:03}"
