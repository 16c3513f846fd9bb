"""A text cut into sentences, and long sentences into clauses, with nothing lost."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from blazen.checks import check_range
from blazen.speech import abbreviations

_CLOSING = "\"'”’»›)\\]}*_」』）】〉》"
_OPENING = "\"'“‘«‹([{*_¿¡„‚「『（【〈《—–-"

# Stops after which a blank follows, and stops of scripts that write none.
_STOP = re.compile(
    # Without the look behind, a run with no blank after it is tried from each of its stops.
    rf"(?<![.!?…‽؟۔।॥։።᠃᙮])(?P<spaced>[.!?…‽؟۔।॥։።᠃᙮]+)[{_CLOSING}]*(?=\s|$)"
    rf"|(?P<joined>[。！？｡؟۔।॥።။៕]+)[{_CLOSING}]*"
)
_LINE = re.compile(r"[\n\r\f\v\x1c-\x1e\x85\u2028\u2029]+\s*")
_ITEM = re.compile(r"(?:[-*+•‣◦▪·–—]|\(?\d{1,3}[.)]|\(?[A-Za-z][.)]|#{1,6}|>|\|)\s")
_HEADING = re.compile(r"#{1,6}\s")
_ENDED = re.compile(rf"[.!?…:;。！？؟۔।॥][{_CLOSING}]*$")
_INITIALS = re.compile(r"(?:\w\.)*[^\W\d_]")
_VOWEL = re.compile(r"[aeiouyáàâäãåæéèêëíìîïóòôöõøœúùûü]", re.IGNORECASE)

# A line shorter than this was ended on purpose, not where the page was full.
_FULL_LINE = 40
_LONGEST_WORD = 40


class _Words(NamedTuple):
    leading: frozenset[str]
    either: frozenset[str]
    openers: frozenset[str]


_ORDINAL_STOP = frozenset(abbreviations.ORDINAL_STOP.split())
_NUMBERED = frozenset(abbreviations.NUMBERED.lower().split())


def sentences(text: str, language: str = "en") -> list[str]:
    """Give the sentences of a text; together they hold each of its characters but blanks."""
    return list(each_sentence(text, language))


def each_sentence(text: str, language: str = "en") -> Iterator[str]:
    """Give one sentence after another, looking no further than the one that is asked for."""
    start = 0
    for end in _ends(text, _words(language.lower()[:2]), language.lower()[:2]):
        sentence = text[start:end].strip()
        if sentence:
            yield sentence
        start = end


def clauses(sentence: str, limit: int) -> list[str]:
    """Cut a sentence into pieces of at most ``limit`` characters, where one would take breath.

    That is at a semicolon, colon or dash, else a comma, else before a conjunction, else between
    words, and inside a word only where it is longer than the limit. Only blanks are lost.
    """
    check_range("limit", limit, at_least=1, integer=True)
    pieces = []
    rest = sentence.strip()
    while len(rest) > limit:
        place = _breath(rest, limit)
        pieces.append(rest[:place].rstrip())
        rest = rest[place:].lstrip()
    return [*pieces, rest]


def first_clause(sentence: str, first_limit: int, limit: int) -> str:
    """Give the beginning of a long sentence that can be spoken while the rest is prepared.

    Without a place to take breath within ``first_limit`` characters, it goes on to the next such
    place: a cut between any two words would be heard.
    """
    least = min(_LEAST_CLAUSE, first_limit)
    for marks in (_MARKS, _CONJUNCTION):
        for mark in marks.finditer(sentence, least):
            if mark.end() <= first_limit:
                return sentence[: mark.end()].rstrip()
            break
    for mark in _ANY.finditer(sentence, least, limit):
        return sentence[: mark.end()].rstrip()
    return clauses(sentence, limit)[0]


_STRONG = re.compile(
    rf"[;:—–…][{_CLOSING}]*(?=\s)|[；：。！？—][{_CLOSING}]*|[.!?][{_CLOSING}]*(?=\s)"
)
_COMMA = re.compile(rf"[,،][{_CLOSING}]*(?=\s)|[，、､]|\s(?=[(\[])|[)\]](?=\s)|\s(?=[-–—]\s)")
_CONJUNCTION = re.compile(
    r"\s(?=(?:and|or|but|because|which|who|that|when|while|where|although|though|if|unless|until|"
    r"since|so|before|after|with|und|oder|aber|weil|dass|wenn|et|ou|mais|parce|qui|que|quand|y|o|"
    r"pero|porque|cuando|e|ma|perché|quando|mas|en|of|maar|omdat)\s)",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s(?=\S)")
_MARKS = re.compile(f"{_STRONG.pattern}|{_COMMA.pattern}")
_ANY = re.compile(f"{_MARKS.pattern}|{_CONJUNCTION.pattern}", re.IGNORECASE)
_LEAST_CLAUSE = 12


def _breath(text: str, limit: int) -> int:
    # A piece shorter than a third of the limit would be one more pause for little.
    for marks, least in ((_STRONG, limit // 3), (_COMMA, limit // 3), (_CONJUNCTION, limit // 3)):
        place = _last(marks, text, least, limit)
        if place:
            return place
    return _last(_SPACE, text, 1, limit) or limit


def _last(marks: re.Pattern[str], text: str, least: int, limit: int) -> int:
    # One character more is looked at: the blank after a mark that just fits.
    ends = [mark.end() for mark in marks.finditer(text, max(least - 1, 0), limit + 1)]
    return max((end for end in ends if end <= limit), default=0)


def _ends(text: str, words: _Words, language: str) -> Iterator[int]:
    line_start = start = 0
    for line in _LINE.finditer(text):
        if not _is_hard(
            text[line_start : line.start()], line[0], text[line.end() : line.end() + 8]
        ):
            line_start = line.end()
            continue
        yield from _stops(text, start, line.start(), words, language)
        yield line.end()
        line_start = start = line.end()
    yield from _stops(text, start, len(text), words, language)
    yield len(text)


def _is_hard(line: str, breaks: str, following: str) -> bool:
    """Say whether a line ends a sentence: at a paragraph, a heading, a list, or a short line."""
    separators = breaks.replace("\r\n", "\n")
    if separators.count("\n") > 1 or any(mark in separators for mark in "\f\v\u2028\u2029"):
        return True
    line = line.strip()
    if _HEADING.match(line) or _ITEM.match(following) or _ENDED.search(line):
        return not (_is_list_number(line))
    return len(line) < _FULL_LINE and not following[:1].islower()


def _is_list_number(line: str) -> bool:
    return bool(re.fullmatch(r"\(?\d{1,3}[.)]", line))


def _stops(text: str, start: int, end: int, words: _Words, language: str) -> Iterator[int]:
    for stop in _STOP.finditer(text, start, end):
        if stop["joined"] or _is_end(text, start, end, stop, words, language):
            start = stop.end()
            yield start


def _is_end(
    text: str, start: int, end: int, stop: re.Match[str], words: _Words, language: str
) -> bool:
    following = text[stop.end() : min(stop.end() + _LONGEST_WORD, end)].lstrip().lstrip(_OPENING)
    closed = stop.end() > stop.end("spaced")
    if stop["spaced"] != ".":
        if stop["spaced"].startswith(("..", "…")) or closed:
            return not following[:1].islower()
        return True
    before = text[max(start, stop.start() - _LONGEST_WORD) : stop.start()]
    word = re.split(r"[\s/]", before)[-1].lstrip(_OPENING)
    is_first = stop.start() - start <= _LONGEST_WORD and before.strip().lstrip(_OPENING) == word
    opener = re.match(r"[\w'’]*", following)
    opens = opener is not None and opener[0].replace("’", "'") in words.openers
    lower = word.lower()
    if word.isdigit():
        return _ends_number(word, following, is_first, language)
    if word == "no" and abbreviations.is_answer(before.removesuffix(word), following):
        return True
    if following[:1].isdigit() and (lower in _NUMBERED or lower in words.leading):
        return False
    if lower in words.leading and is_first:
        return False
    if lower in words.either:
        return opens or (
            lower in ("a.m", "p.m", "etc") and following[:1].isupper() and not _is_day(following)
        )
    if lower in words.leading:
        return False
    if following[:1].islower():
        return len(word) > 1 and "." not in word and bool(_VOWEL.search(word))
    if len(word) == 1 and _INITIALS.match(following) and following[1:2] == ".":
        return False  # "z. B."
    if _INITIALS.fullmatch(word) and (word.isupper() or "." in word):
        return opens
    return True


def _ends_number(word: str, following: str, is_first: bool, language: str) -> bool:
    if is_first and len(word) <= 3:
        return False  # the number of a list's item
    if language in _ORDINAL_STOP and len(word) <= 2:
        return not following
    return not following[:1].islower()


def _is_day(following: str) -> bool:
    return bool(_DAY.match(following))


_DAY = re.compile(
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|(?:Jan|Febr)uary|March|April|May|June|July|August"
    r"|(?:Septem|Octo|Novem|Decem)ber|[ECMP][SD]?T\b|GMT|UTC|BST|CES?T"
)


@functools.cache
def _words(language: str) -> _Words:
    def of(table: dict[str, str]) -> list[str]:
        return table.get(language, "").split()

    return _Words(
        frozenset(word.lower() for word in of(abbreviations.LEADING)),
        frozenset(word.lower() for word in of(abbreviations.EITHER)),
        frozenset(of(abbreviations.OPENERS)),
    )
