"""What an engine is given to speak, piece by piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.speech import utterances
from blazen.speech.pauses import Pause
from blazen.speech.utterances import Utterance, spoken

LONG = "When the ship came in late, the keeper counted seven sails and went to bed at once."


def _spoken(text, **settings):
    return [(p.text, p.pause) if isinstance(p, Utterance) else p for p in spoken(text, **settings)]


def test_sentences_follow_each_other_with_a_pause():
    assert _spoken("One. Two!\n\nThree?", pause=0.3) == [
        ("One.", 0.3),
        ("Two!", 0.6),
        ("Three?", 0.0),
    ]


def test_a_marked_pause_takes_the_place_of_the_usual_one():
    text = '<break time="1s"/>One.<break time="100ms"/> Two,<break/><break/> three. Four'
    assert _spoken(text) == [
        Pause(1.0),
        ("One.", 0.1),
        ("Two,", 1.0),
        ("three.", 0.2),
        ("Four", 0.0),
    ]
    assert _spoken("One.<break/>") == [("One.", 0.5)]
    assert _spoken("<break/><break/>") == [Pause(1.0)]


def test_silence_is_given_ten_seconds_at_a_time():
    ten = Pause(10.0)
    assert _spoken("<break time='40s'/><break time='25s'/>") == [ten] * 6 + [Pause(5.0)]
    assert _spoken("<break time='40s'/><break time='25s'/>One.") == (
        [ten] * 6 + [Pause(5.0), ("One.", 0.0)]
    )
    assert _spoken("One.<break time='15s'/>Two.<break time='20s'/>") == [
        ("One.", 10.0), Pause(5.0), ("Two.", 10.0), ten,
    ]  # fmt: skip
    assert _spoken("One.\n\nTwo.", pause=6) == [("One.", 10.0), Pause(2.0), ("Two.", 0.0)]
    assert _spoken("<break strength='none'/>") == [Pause(0.0)]


def test_sentences_and_paragraphs_that_are_marked_are_kept_apart():
    assert _spoken("<speak><p><s>one</s><s>two</s></p><p>three</p></speak>", pause=0.2) == [
        ("one", 0.2),
        ("two", 0.4),
        ("three", 0.0),
    ]


def test_the_first_sentence_begins_with_its_first_clause():
    found = _spoken(f"{LONG} {LONG}")
    assert [text for text, _ in found] == ["When the ship came in late,", LONG[28:], LONG]
    assert [pause for _, pause in found] == [0.0, 0.2, 0.0]
    assert _spoken(LONG, first_limit=300) == [(LONG, 0.0)]


def test_long_sentences_are_cut():
    found = _spoken("word " * 500, limit=100)
    assert len(found) >= 25
    assert all(len(text) <= 100 and pause == 0 for text, pause in found)


def test_text_is_written_out_unless_it_is_not_wanted():
    assert _spoken("Dr. Li paid $5.") == [("Doctor Li paid five dollars.", 0.0)]
    assert _spoken("Dr. Li paid $5.", normalise=False) == [("Dr. Li paid $5.", 0.0)]
    assert _spoken("an nginx v2", lexicon={"nginx": "engine 1"}) == [
        ("an engine one version two", 0.0)
    ]
    assert _spoken("am 3/4/2026", language="en-gb")[0][0].startswith("am the third of April")


def test_what_can_not_be_said_is_left_out():
    assert _spoken("... !? —") == _spoken("🙂") == _spoken("") == []
    assert _spoken("one\0two \ud83d three") == [("one two three", 0.0)]


def test_what_is_wrong_is_refused_before_anything_is_spoken():
    with pytest.raises(ValidationError, match="emphasis"):
        spoken(f"<speak>{LONG} <emphasis>x</emphasis></speak>")
    with pytest.raises(ValidationError, match="limit"):
        spoken(LONG, limit=0)
    with pytest.raises(ValidationError, match="pause"):
        spoken(LONG, pause=-1)


def test_only_what_is_asked_for_is_written_out(monkeypatch):
    seen = []
    real = utterances.in_words
    monkeypatch.setattr(utterances, "in_words", lambda *a: seen.append(a) or real(*a))
    pieces = spoken("The keeper counted 7 ships. " * 5_000)
    assert next(pieces) == Utterance("The keeper counted seven ships.", 0.2)
    assert len(seen) <= 3


@given(st.text(max_size=200), st.integers(1, 50), st.booleans())
def test_any_text_is_taken(text, limit, normalise):
    try:
        found = list(spoken(text, normalise=normalise, first_limit=limit, limit=limit))
    except ValidationError:
        assert "<" in text
        return
    for piece in found:
        assert isinstance(piece, Pause) or 0 < len(piece.text) <= limit


@given(st.lists(st.sampled_from(["alpha", "beta,", "gamma;", "delta.", "eta!\n\n"]), min_size=1))
def test_no_word_is_lost_on_the_way(words):
    text = " ".join(words)
    found = spoken(text, first_limit=10, limit=25)
    assert " ".join(piece.text for piece in found).split() == text.split()
