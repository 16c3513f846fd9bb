"""Regular expressions: what is understood, what is refused; all engines get one meaning."""

from __future__ import annotations

import re

import pytest

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema import Grammar, check_grammar, full_match, grammar_of, plain_regex
from blazen.schema.regex import search
from blazen.types.response_format import ResponseFormat


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("a(?=b)", "lookahead"), ("a(?!b)", "negative lookahead"), ("(?<=a)b", "lookbehind"),
        ("(?<!a)b", "negative lookbehind"), (r"(a)\1", "backreference"),
        ("(?P<x>a)(?P=x)", "backreference"), (r"\bword", "word boundary"), ("(?i)a", "flags"),
        ("(?i:a)", "flags"), ("(?>a)", "atomic"), ("a++", "possessive"), (r"\p{L}", "Unicode"),
        ("a^b", "anchor"), ("(a$)b", "anchor"), (r"\q", "escape"), (r"\ud800", "half"),
        ("a{100001}", "repetitions"), ("(" * 60 + ")" * 60, "deep"), ("a" * 5001, "too long"),
        ("(?#note)a", "comment"), ("(?(1)a|b)", "conditional"),
    ],
)  # fmt: skip
def test_what_no_engine_can_be_held_to_is_refused_by_name(pattern, words):
    with pytest.raises(UnsupportedError, match=words):
        full_match(pattern, "a")


@pytest.mark.parametrize(
    "pattern",
    [
        "(a",
        "a)",
        "[a",
        "*a",
        "a**",
        "a{3,2}",
        "\\",
        "[z-a]",
        r"[\d-z]",
        r"\x4",
        "^*",
        "[]",
        r"[^\d\D]",
    ],
)
def test_what_is_broken_is_an_error(pattern):
    with pytest.raises(ValidationError, match="regular expression"):
        full_match(pattern, "a")


@pytest.mark.parametrize(
    "pattern, good, bad",
    [
        (r"\d+", ["0123"], ["", "１２", "٣", "12\n"]),
        (r"\w", ["a", "_", "7"], ["é", "-"]),
        (r"\s", [" ", "\t", "\n"], ["\u00a0", "\u2003"]),
        (r".", ["a", "é", "😀"], ["\n", "\r", "\u2028", ""]),
        ("^a|b$", ["a", "b"], ["ab", ""]),
        (r"\Aa\Z", ["a"], ["a\n"]),
        ("a{,2}", ["", "aa"], ["aaa", "a{,2}"]),
        ("a{x}", ["a{x}"], ["a"]),
        ("[]a]+", ["]a"], ["b"]),
        ("[a-]+", ["a-"], ["b"]),
        (r"[\b]", ["\b"], ["b"]),
        ("(?P<name>a)(?<other>b)", ["ab"], ["a"]),
        ("a*?b+?", ["aabb", "b"], ["a"]),
        ("(|a)b", ["b", "ab"], ["a"]),
        ("", [""], ["a"]),
    ],
)
def test_what_a_pattern_matches(pattern, good, bad):
    for text in good:
        assert full_match(pattern, text), text
        assert re.fullmatch(plain_regex(pattern), text), text
    for text in bad:
        assert not full_match(pattern, text), text


def test_the_pattern_of_a_schema_may_match_anywhere():
    assert search("b", "abc")
    assert search("b\\Z", "ab")
    assert not search("^b", "ab")
    assert not search("b$", "b\n")
    assert search("^a|c$", "xc")


def test_a_pattern_written_anew_has_no_class_that_engines_disagree_on():
    assert plain_regex(r"^[\w.]+@\d{2}$") == r"[\.0-9A-Z_a-z]+@[0-9]{2}"


@pytest.mark.parametrize(
    "text, words",
    [
        ('answer ::= "a"', "root"),
        ('# root ::= "a"', "root"),
        ('root ::= ("a"', "missing"),
        ('root ::= "a")', "closes nothing"),
        ('root ::= "a', "missing"),
        ("root ::= [a", "missing"),
    ],
)
def test_a_grammar_that_plainly_is_none_is_refused(text, words):
    with pytest.raises(ValidationError, match=words):
        grammar_of(ResponseFormat.grammar(text))


def test_a_grammar_is_taken_as_it_is():
    text = '# it\'s a (note\nroot ::= "(\\"" [^)\\]"]* # ) or ]\n'
    assert check_grammar(text) == text
    assert grammar_of(ResponseFormat.grammar(text)) == text


def test_a_grammar_needs_a_root():
    with pytest.raises(ValidationError, match="root"):
        str(Grammar())


def test_half_characters_are_in_no_grammar():
    with pytest.raises(ValidationError, match="half"):
        Grammar.literal("\ud83d")
    with pytest.raises(ValidationError, match="half"):
        grammar_of(ResponseFormat.schema({"enum": ["\ud83d"]}))


def test_repeating_what_may_be_nothing_too_often_is_refused():
    with pytest.raises(UnsupportedError, match="left out"):
        grammar_of(ResponseFormat.regex(f"({'a?' * 60})*"))
    pattern = "a?b?c?d?"
    for _ in range(40):
        pattern = f"x?(?:{pattern})*"
    with pytest.raises(UnsupportedError, match="left out"):
        grammar_of(ResponseFormat.regex(pattern))


@pytest.mark.parametrize(
    "pattern, text",
    [
        ("(a+)+", "a" * 50 + "b"),
        ("(a|a)*b", "a" * 50),
        (r"(\w+\s?)+\.", "word " * 500),
        ("a*a*a*a*a*a*b", "a" * 3000),
        ("(a{1,5}){1,100000}", "a" * 3000 + "b"),
    ],
)
def test_no_pattern_takes_for_ever(pattern, text):
    assert not full_match(pattern, text)
    assert not search(f"^(?:{pattern})$", text)


@pytest.mark.parametrize("pattern", ["a*", "a{0}", "(a?){3}b", "(ab|a)(c|bcd)(d*)", "(a*){2,}", ""])
@pytest.mark.parametrize("text", ["", "a", "aaa", "b", "ab", "aaab", "abcd", "abcdd", "c"])
def test_a_match_is_what_python_finds(pattern, text):
    assert full_match(pattern, text) == bool(re.fullmatch(pattern, text))


def test_a_bound_of_thousands_of_digits_is_refused():
    with pytest.raises(UnsupportedError, match="repetitions"):
        full_match("a{" + "9" * 4900 + "}", "a")
