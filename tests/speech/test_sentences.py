"""A text falls into sentences and clauses, and nothing of it is lost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.speech.sentences import clauses, each_sentence, first_clause, sentences

# Where a bar stands, a sentence ends.
ENGLISH = [
    "Hello there.| How are you?| Fine!",
    "Dr. Smith met J. R. R. Tolkien at 5 p.m. Monday.| They spoke.",
    "He left at 5 p.m.| Then he slept.",
    "It costs $3.50.| In 2005.| It was 3.14 then.",
    'He was late... very late!| "Really?" she asked.| "Yes."| Then he left.',
    "See No. 5, e.g. this one, p. 7 and Fig. 3.| No.| We won't.",
    "The U.S. Army left.| He lives in the U.S.| The end.",
    "He lives on Elm Dr.| The house is old.",
    "Apple Inc. announced it.| Paper, pens, etc.| Then more.",
    "He said (it was late.)| Then left.| [Really!]| Go.",
    "It was so!).| What?!| No...| Yes.",
    "See https://example.com/a?b=c. Next.|",
    "Visit example.com now.| Mail me@a.co.uk.| Bye.",
    "One line without a stop",
    "all is lower case.| nothing is capital.| done",
    "Shopping:|\n- milk|\n- eggs|\n1. First.|\n2. Second",
    "# Heading|\nText below it.",
    "First paragraph|\n\nsecond paragraph",
    "A line of prose that was wrapped where the page was full\nof words goes on. |And ends.",
    "Milk|\nEggs|\nBread",
    "One\u2028|two\u2029|three",
    "What is this?— he asked.",
    "I said no.| 3 people left.| See no. 3 here; he is no. 1 now.",
    "Mr. and Mrs. O'Neil vs. St. John.| Prof. Li won.",
    "Born Jan. 5, 2001.| Died Dec. 7.| The end.",
    "Version 3.11.2 is out.| Use it.",
    "Wait…| What?| Oh… yes.",
]
OTHERS = [
    ("zh", "你好。|今天天气很好！|真的吗？|“是的。”|他说"),
    ("ja", "こんにちは。|元気ですか？|はい"),
    ("hi", "नमस्ते।| आप कैसे हैं?| ठीक हूँ।"),
    ("ar", "مرحبا.| كيف حالك؟| بخير."),
    ("de", "Am 3. März kam er.| Dann ging er z. B. nach Bonn."),
    ("de", "Das ist z.B. Herr Dr. Maier.| Er wohnt hier."),
    ("fr", "M. Dupont est là.| Il part."),
    ("es", "¿Qué tal?| ¡Bien!| El Sr. Ruiz llegó."),
]


def _cut(marked):
    return [part.strip() for part in marked.split("|") if part.strip()]


@pytest.mark.parametrize("marked", ENGLISH)
def test_english_sentences(marked):
    if "https" in marked:  # a stop after an address is a stop
        assert sentences(marked.replace("|", "")) == ["See https://example.com/a?b=c.", "Next."]
        return
    assert sentences(marked.replace("|", ""), "en") == _cut(marked)


@pytest.mark.parametrize(("language", "marked"), OTHERS)
def test_sentences_of_other_languages(language, marked):
    assert sentences(marked.replace("|", ""), language) == _cut(marked)


def test_blank_text_has_no_sentence():
    assert sentences("") == sentences(" \n\t ") == []


def _solid(text):
    return "".join(text.split())


PIECES = st.lists(
    st.sampled_from(
        [
            *"abcZ .!?…\n\r\t。！؟।,;:—()\"'“”*#-1\u2028\u2029\0",
            "Dr. ",
            "e.g. ",
            "3.5",
            "p.m. ",
            "\n\n",
            " and ",
        ]
    ),
    max_size=60,
).map("".join)


@given(st.one_of(st.text(max_size=200), PIECES), st.sampled_from(["en", "de", "zh", "xx"]))
def test_sentences_lose_nothing(text, language):
    found = sentences(text, language)
    assert _solid("".join(found)) == _solid(text)
    assert all(sentence == sentence.strip() != "" for sentence in found)


@given(st.one_of(st.text(max_size=200), PIECES), st.integers(1, 80))
def test_clauses_lose_nothing_and_keep_the_limit(text, limit):
    found = clauses(text, limit)
    assert _solid("".join(found)) == _solid(text)
    assert all(len(piece) <= limit for piece in found)
    head = first_clause(text.strip(), min(limit, 20), limit)
    assert text.strip().startswith(head)
    assert len(head) <= limit


def test_clauses_end_where_one_takes_breath():
    text = "We came early, we saw a lot; we left late because it rained (and it was cold) all day"
    assert clauses(text, 40) == [
        "We came early, we saw a lot;",
        "we left late because it rained",
        "(and it was cold) all day",
    ]
    assert clauses("It cost 1,000,000 and 2,000,000 in all", 20)[0] == "It cost 1,000,000"
    assert clauses("你好，今天天气很好，我们走吧", 8) == ["你好，", "今天天气很好，", "我们走吧"]
    assert clauses("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert clauses("short", 10) == ["short"]
    with pytest.raises(ValidationError, match="limit"):
        clauses("text", 0)


def test_the_first_clause_ends_at_a_breath_too():
    text = "When the ship came in late, the keeper counted seven sails and went to bed at once"
    assert first_clause(text, 40, 300) == "When the ship came in late,"
    assert first_clause(text, 20, 300) == "When the ship came in late,"
    plain = "The keeper of the old lighthouse counted seven sails on the way home and slept"
    assert first_clause(plain, 20, 300) == plain.partition(" and")[0]


def test_a_sentence_is_given_before_the_next_is_looked_for():
    book = "Dr. No came at 5 p.m. to see us. " * 30_000
    assert list(itertools.islice(each_sentence(book, "en"), 2)) == [book[:32]] * 2


@pytest.mark.parametrize("sign", ["!", "?!", "…", "؟", "॥"])
def test_a_long_run_of_stops_is_cut_at_all(sign):
    text = sign * 100_000 + "x"
    assert "".join(sentences(text)) == text
    assert sentences(f"a{sign} B") == [f"a{sign}", "B"]


def test_a_numbered_part_is_no_sentence():
    text = "Siehe Kap. 3, Bd. 2, Abb. 7 und Tel. 030 1234567."
    assert sentences(text, "de") == [text]
