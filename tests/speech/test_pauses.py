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
        ("<speak><p>One</p><p>Two</p></speak>", [f"{P}One{P}{P}Two{P}"]),
        ("<speak><s>One</s></speak>", [f"{S}One{S}"]),
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
        ("<speak><emphasis>loud</emphasis></speak>", "<emphasis>"),
        ('<break/><prosody rate="slow">x</prosody>', "<prosody"),
        ("a <break/> <div>b</div>", "<div>"),
        ("<speak><say-as interpret-as='date'>1</say-as></speak>", "<say-as"),
        ('<break time="soon"/>', "soon"),
        ('<break time="5"/>', "'5'"),
        ('<break time="-1s"/>', "-1s"),
        ('<break time="61s"/>', "60"),
        ('<break strength="loud"/>', "loud"),
        ('<break length="1s"/>', "length"),
        ('<speak><p xml:lang="de">x</p></speak>', "xml:lang"),
        ("a <break time=1s/> b", "<break time=1s/>"),
        ('a <break time="1s"/ > b', "<break time="),
        ("a <BREAK time=1s/> b", "<BREAK"),
        ("<break/> <foo bar=1>", "<foo bar=1>"),
        ("<break/> <foo bar", "<foo bar"),
        ("<break/> <p", "<p"),
        ("<speak>if a <b and c</speak>", "<b and c"),
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


@pytest.mark.parametrize(
    "text",
    [
        "The `<sub>` tag, H<sub>2</sub>O and x<sup>2</sup>.",
        "Use `<audio>` or `<mark>`.",
        "<b>bold</b> <s>strike</s> &amp; <em>so</em>",
        "List<String> and Map<p> and <speak> in between",
        "`<p>` is a paragraph tag, and so is <p>.",
        "A pause is `<break time='1s'/>` here, or ``<break/> ` ``.",
        "So:\n\n```xml\n<speak>\n\n<break/></speak>\n```\nThat is it.",
        "```xml\n<break/>\n\n",
        "1. So\n   ~~~\n   <break/>\n\n   `<break/>\n   ~~~\n",
    ],
)
def test_html_and_code_in_a_chat_answer_are_plain(text):
    assert pauses(text) == [text]


def test_code_in_a_marked_up_text_is_as_it_stands():
    text = "`<p>` &amp; `&amp;`<break/>`<foo bar=1>` is"
    assert pauses(text) == ["`<p>` & `&amp;`", Pause(0.5), "`<foo bar=1>` is"]
    assert pauses("a ` b <break/> c\n\nd ` e") == ["a ` b ", Pause(0.5), " c\n\nd ` e"]
    assert pauses("a `` b <break/> c ` e") == ["a `` b ", Pause(0.5), " c ` e"]


def test_the_case_of_a_tag_does_not_matter():
    assert pauses('a<BREAK time="1s"/>b') == ["a", Pause(1.0), "b"]
    assert pauses("<!-- x --> <!DOCTYPE speak>\n<Speak>a<S>b</S></SPEAK>") == [f" \na{S}b{S}"]


N = 100_000
BLANKS = " " * N
QUESTIONS = "<?" * (N // 2)
COMMENTS = "<!--" * (N // 4)
TICKS = "` `` ``` " * (N // 9)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"<p a='{BLANKS}", [f"<p a='{BLANKS}"]),
        (f"<p>{QUESTIONS}", [f"<p>{QUESTIONS}"]),
        (f"<p>{COMMENTS}", [f"<p>{COMMENTS}"]),
        (f"<speak>{QUESTIONS}", [QUESTIONS]),
        (f"<speak>{COMMENTS}", [COMMENTS]),
        (f"<break/>{COMMENTS}{QUESTIONS}", [Pause(0.5), COMMENTS + QUESTIONS]),
        ("<!---->" * (N // 7) + "x<speak>", ["<!---->" * (N // 7) + "x<speak>"]),
        ("<!---->" * (N // 7) + "<speak>x", ["x"]),
        (f"<{TICKS}", [f"<{TICKS}"]),
        ("<" + "~~~ " * (N // 4), ["<" + "~~~ " * (N // 4)]),
        ("<" + "`" * N, ["<" + "`" * N]),
    ],
    ids=range(11),
)
def test_a_hundred_thousand_signs_are_read(text, parts):
    assert pauses(text) == parts


@pytest.mark.parametrize("blanks", ["<break/><p a='" + BLANKS, "<break/><p a=''" + BLANKS])
def test_a_tag_without_an_end_is_refused_however_long(blanks):
    with pytest.raises(ValidationError, match="<p a="):
        pauses(blanks)
