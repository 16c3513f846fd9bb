"""A lexicon says how words are said."""

from __future__ import annotations

import pytest

from blazen.speech.lexicon import apply_lexicon

LEXICON = {
    "nginx": "engine x",
    "sql": "sequel",
    "US": "you ess",
    "sql server": "S server",
    "C++": "see",
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nginx, Nginx and NGINX.", "engine x, engine x and engine x."),
        ("nginxes and my_nginx", "nginxes and my_nginx"),
        ("The US and us", "The you ess and us"),
        ("SQL Server and SQL", "S server and sequel"),
        ("C++ or C++17", "see or see17"),
        ("", ""),
    ],
)
def test_whole_words_are_said_so(text, said):
    assert apply_lexicon(text, LEXICON) == said


def test_what_is_said_is_no_pattern():
    assert apply_lexicon("a.b axb", {"a.b": r"\1"}) == r"\1 axb"
    assert apply_lexicon("as it is", {}) == apply_lexicon("as it is", {" ": "x"}) == "as it is"


@pytest.mark.parametrize(
    ("text", "key"), [("İ", "i"), ("ı", "i"), ("ſ", "s"), ("μ", "µ"), ("\u212a", "k")], ids=ascii
)
def test_letters_that_fold_unusually_are_found(text, key):
    assert apply_lexicon(f"a {text} b", {"other": "x", key: "said"}) == "a said b"


def test_a_word_with_its_own_case_goes_before_one_without():
    assert apply_lexicon("Polish polish", {"Polish": "pole ish", "polish": "paul ish"}) == (
        "pole ish paul ish"
    )
