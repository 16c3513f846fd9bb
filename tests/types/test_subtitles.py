"""Transcripts as text, subtitles, tables and JSON: what is written is read back as it was."""

from __future__ import annotations

import html
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.types.subtitles import cues
from blazen.types.transcription import Segment, TranscriptionResponse, Word

TIME = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)[.,](\d{3})")


def response(*segments, **settings):
    made = tuple(s if isinstance(s, Segment) else Segment(*s) for s in segments)
    return TranscriptionResponse(" ".join(s.text for s in made), made, **settings)


def milliseconds(text):
    hours, minutes, seconds, rest = map(int, TIME.fullmatch(text).groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def read_srt(text):
    """A reader of SRT, written from what players do."""
    found = []
    for number, block in enumerate(re.split(r"\n\n+", text.strip("\n")) if text else [], start=1):
        first, times, *lines = block.split("\n")
        assert first == str(number)
        start, arrow, end = times.partition(" --> ")
        assert arrow
        assert not any(" --> " in line for line in lines)
        found.append((milliseconds(start), milliseconds(end), "\n".join(lines)))
    return found


def read_vtt(text):
    """A reader of WebVTT, written from the W3C's description."""
    head, *blocks = re.split(r"\n\n+", text.strip("\n"))
    assert head == "WEBVTT"
    found = []
    for block in blocks:
        times, *lines = block.split("\n")
        start, arrow, end = times.partition(" --> ")
        assert arrow
        body = "\n".join(lines)
        assert "-->" not in body
        assert "<" not in body
        found.append((milliseconds(start), milliseconds(end), html.unescape(body)))
    return found


HELLO = response((" Hello there.", 0.0, 1.5), (" Bye.", 1.5, 3661.25), language="en")


def test_txt():
    assert HELLO.render() == HELLO.render("txt") == "Hello there.\nBye.\n"
    assert TranscriptionResponse("two\n\nlines ").render() == "two\nlines\n"
    assert TranscriptionResponse("").render() == ""


def test_srt():
    assert HELLO.render("srt") == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n2\n00:00:01,500 --> 01:01:01,250\nBye.\n"
    )


def test_vtt():
    assert HELLO.render("vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n\n"
        "00:00:01.500 --> 01:01:01.250\nBye.\n"
    )


def test_tsv_is_whispers_own():
    assert HELLO.render("tsv") == "start\tend\ttext\n0\t1500\tHello there.\n1500\t3661250\tBye.\n"
    odd = response(("a\tb\nc", 0.0, 1.0)).render("tsv")
    assert odd.splitlines()[1] == "0\t1000\ta b c"


def test_json_is_the_whole_record():
    whole = response(
        Segment("hi", 0.0, 1.0, (Word("hi", 0.0, 1.0, 0.5),), avg_logprob=-0.25), language="en"
    )
    assert TranscriptionResponse.from_json(whole.render("json")) == whole


def test_a_transcript_without_speech():
    nothing = TranscriptionResponse("", duration=3.0)
    assert nothing.render("srt") == ""
    assert nothing.render("vtt") == "WEBVTT\n"
    assert nothing.render("tsv") == "start\tend\ttext\n"


def test_a_text_without_segments_lasts_as_long_as_the_sound():
    assert cues(TranscriptionResponse("hello", duration=2.0)) == [(0, 2000, "hello")]
    with pytest.raises(ValidationError, match="has no times"):
        TranscriptionResponse("hello").render("srt")


def test_what_looks_like_markup_or_times_stays_text():
    text = "1 < 2 & 3 > 2 --> <i>4</i> ---->"
    assert read_vtt(response((text, 0, 1)).render("vtt")) == [(0, 1000, text)]
    ((_, _, plain),) = read_srt(response((text, 0, 1)).render("srt"))
    assert plain == "1 < 2 & 3 > 2 -> <i>4</i> ->"


def test_blank_lines_and_control_characters_do_not_break_a_cue():
    text = "\n\n one \r\n\r\n\ttwo\x00\x1b\u2028\x85three \n"
    for read, kind in ((read_srt, "srt"), (read_vtt, "vtt")):
        assert read(response((text, 0, 1)).render(kind)) == [(0, 1000, "one\ntwo\nthree")]


def test_more_than_99_hours():
    text = response(("late", 360_000.0, 360_001.0)).render("srt")
    assert "100:00:00,000 --> 100:00:01,000" in text


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([("a", 0.0, 1.0006), ("b", 1.0006, 2.0)], [(0, 1001), (1001, 2000)]),
        ([("a", 0.0, 1.4), ("b", 1.2, 2.0)], [(0, 1200), (1200, 2000)]),
        ([("a", 1.0, 1.0), ("b", 1.0, 1.0)], [(1000, 1001), (1001, 1002)]),
        ([("b", 5.0, 6.0), ("a", 0.0, 1.0)], [(0, 1000), (5000, 6000)]),
        ([("a", -0.5, 0.5)], [(0, 500)]),
    ],
)
def test_cues_rise_and_do_not_overlap(segments, expected):
    assert [(start, end) for start, end, _ in cues(response(*segments))] == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_times_that_are_none_are_refused(bad):
    with pytest.raises(ValidationError, match="number of seconds"):
        response(("a", 0.0, bad)).render("srt")


LONG = "the quick brown fox jumps over the lazy dog and runs away into the dark forest"


def test_lines_are_wrapped():
    (cue,) = cues(response((LONG, 0.0, 8.0)), max_line_width=20)
    assert all(len(line) <= 20 for line in cue.text.split("\n"))
    assert cue.text.replace("\n", " ") == LONG
    assert cue[:2] == (0, 8000)


def test_what_needs_more_lines_is_shown_one_part_after_another():
    parts = cues(response((LONG, 0.0, 8.0)), max_line_width=20, max_lines=2)
    assert len(parts) == 2
    assert all(part.text.count("\n") <= 1 for part in parts)
    assert " ".join(part.text.replace("\n", " ") for part in parts) == LONG
    assert (parts[0].start, parts[-1].end) == (0, 8000)
    assert all(one.end == other.start for one, other in itertools.pairwise(parts))


def test_words_say_when_a_part_begins():
    names = LONG.split()
    spoken = tuple(Word(name, i * 0.1, i * 0.1 + 0.1) for i, name in enumerate(names[:-1]))
    segment = Segment(LONG, 0.0, 60.0, (*spoken, Word(names[-1], 59.0, 60.0)))
    first, second, *_ = cues(response(segment), max_line_width=20, max_lines=1)
    assert first.text == "the quick brown fox"
    assert (first.end, second.start) == (400, 400)


def test_a_cue_for_each_word():
    segment = Segment(" a b", 0.0, 1.0, (Word(" a", 0.0, 0.25), Word("b", 0.25, 1.0)))
    assert cues(response(segment), words=True) == [(0, 250, "a"), (250, 1000, "b")]
    with pytest.raises(ValidationError, match="words=True"):
        HELLO.render("vtt", words=True)


@pytest.mark.parametrize(
    "bad",
    [
        {"format": "doc"},
        {"format": "srt", "max_line_width": 0},
        {"format": "srt", "max_line_width": 10, "max_lines": 1.5},
        {"format": "srt", "max_lines": 2},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValidationError):
        HELLO.render(**bad)


def test_files(tmp_path):
    for kind in ("txt", "srt", "vtt", "tsv", "json"):
        path = HELLO.save(tmp_path / f"a.{kind}")
        assert path.read_bytes().decode() == HELLO.render(kind)
    wrapped = HELLO.save(tmp_path / "talk", "srt", max_line_width=6)
    assert "Hello\nthere." in wrapped.read_text("utf-8")
    with pytest.raises(ValidationError, match="format of a transcript"):
        HELLO.save(tmp_path / "a.mp3")
    half = response(("one \ud83d", 0.0, 1.0)).save(tmp_path / "half.srt")
    assert "one ?" in half.read_text("utf-8")


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["-->", "1\n2", "&amp;", "<b>", "a --> b", "--->", "00:00:01,000 --> 00:00:02,000", "NOTE x"]
)
SEGMENTS = st.lists(
    st.tuples(TEXTS, st.floats(0, 400_000), st.floats(0, 100)).map(
        lambda made: Segment(made[0], made[1], made[1] + made[2])
    ),
    max_size=6,
)


@given(SEGMENTS)
def test_subtitles_are_read_back_as_they_were(segments):
    whole = TranscriptionResponse("", tuple(segments))
    shown = cues(whole)
    before = 0
    for cue in shown:
        assert before <= cue.start < cue.end
        assert cue.text.strip()
        before = cue.end
    assert read_vtt(whole.render("vtt")) == [tuple(cue) for cue in shown]
    arrows = [(cue.start, cue.end, re.sub("-{2,}>", "->", cue.text)) for cue in shown]
    assert read_srt(whole.render("srt")) == arrows
    rows = whole.render("tsv").split("\n")[1:-1]
    assert [tuple(map(int, row.split("\t")[:2])) for row in rows] == [cue[:2] for cue in shown]
    assert all(row.count("\t") == 2 for row in rows)


@given(SEGMENTS, st.integers(1, 30), st.none() | st.integers(1, 3))
def test_wrapping_loses_nothing(segments, width, lines):
    whole = TranscriptionResponse("", tuple(segments))
    shown = cues(whole, max_line_width=width, max_lines=lines)
    for cue in shown:
        assert all(len(line) <= width for line in cue.text.split("\n"))
        assert lines is None or cue.text.count("\n") < lines

    def letters(found):
        return sorted("".join("".join(cue.text.split()) for cue in found))

    assert letters(shown) == letters(cues(whole))
