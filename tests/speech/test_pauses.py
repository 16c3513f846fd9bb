"""Pauses are marked as in SSML; what is not understood is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.speech.pauses import PARAGRAPH_BREAK as P
from blazen.speech.pauses import SENTENCE_BREAK as S
from blazen.speech.pauses import Pause, pauses

PLAIN = "Fish &amp; chips, 5 < 6 > 4, <div> <a href='x'>"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('One<break time="500ms"/>two', ["One", Pause(0.5), "two"]),
        ("One <break time='1.5s' /> two", ["One ", Pause(1.5), " two"]),
        ('<break strength="weak"/>', [Pause(0.25)]),
        ('<break strength="none"/>', [Pause(0.0)]),
        ("a<break/>b<break></break>", ["a", Pause(0.5), "b", Pause(0.5)]),
        ('a<break strength="weak" time="2s"/>', ["a", Pause(2.0)]),
        ('<speak version="1.1" xml:lang="en">Hi</speak>', ["Hi"]),
        ("<p>One</p><p>Two</p>", [f"{P}One{P}{P}Two{P}"]),
        ("<s>One</s>", [f"{S}One{S}"]),
        ("<speak>a &amp; b &lt;c&gt; 5 < 6 &eacute;</speak>", ["a & b <c> 5 < 6 &eacute;"]),
        ("<?xml version='1.0'?><!-- hm --><speak>a</speak>", ["a"]),
        (PLAIN, [PLAIN]),
        ("<speak> </speak>", []),
        ("", []),
    ],
)  # fmt: skip
def test_marks_are_read(text, parts):
    assert pauses(text) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<emphasis>loud</emphasis>", "<emphasis>"),
        ('<prosody rate="slow">x</prosody>', "<prosody"),
        ("a <break/> <div>b</div>", "<div>"),
        ("<speak><say-as interpret-as='date'>1</say-as></speak>", "<say-as"),
        ('<break time="soon"/>', "soon"),
        ('<break time="5"/>', "'5'"),
        ('<break time="-1s"/>', "-1s"),
        ('<break time="61s"/>', "60"),
        ('<break strength="loud"/>', "loud"),
        ('<break length="1s"/>', "length"),
        ('<p xml:lang="de">x</p>', "xml:lang"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text, message):
    with pytest.raises(ValidationError, match=message):
        pauses(text)


@given(st.text(max_size=100).filter(lambda text: "<" not in text))
def test_a_text_without_tags_is_itself(text):
    assert pauses(text) == ([text] if text else [])


def test_a_long_run_of_signs_takes_no_long_time():
    text = "<break " + "a=" * 20_000 + "<" * 20_000 + "<speak " * 5_000
    assert pauses(text) == [text]
