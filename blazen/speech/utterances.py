"""A text as an engine is to speak it: one sentence or clause after another, with the pauses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from blazen.checks import check_range
from blazen.speech.lexicon import apply_lexicon
from blazen.speech.normalise import normalise as in_words
from blazen.speech.pauses import LONGEST, PARAGRAPH_BREAK, Pause, pauses
from blazen.speech.sentences import clauses, each_sentence, first_clause
from blazen.types.record import Record

FIRST_LIMIT = 60
LIMIT = 300
LONGEST_PIECE = 10.0
"""The seconds of silence that are given at once: an engine makes sound of them."""

PARAGRAPH = 2.0
"""How many times the pause between sentences there is between paragraphs."""

# A sentence without an end is cut here before anything is done to it, so that work stays small.
_RAW_LIMIT = 1_000
_PARAGRAPHS = re.compile(rf"(?:\r?\n[^\S\n{PARAGRAPH_BREAK}]*\n|{PARAGRAPH_BREAK})\s*")
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Utterance(Record):
    """What an engine speaks in one go, and the seconds of silence after it."""

    text: str
    pause: float = 0.0


def spoken(
    text: str,
    *,
    language: str | None = None,
    normalise: bool = True,
    lexicon: Mapping[str, str] | None = None,
    pause: float = 0.2,
    first_limit: int = FIRST_LIMIT,
    limit: int = LIMIT,
) -> Iterator[Utterance | Pause]:
    """Give what to speak, piece by piece; each piece is worked out when it is asked for.

    A sentence is one piece, or several where it has more than ``limit`` characters; a first
    sentence of more than ``first_limit`` begins with its first clause, so that sound starts early.
    ``pause`` seconds follow each sentence but the last, and a pause that the text marks takes their
    place. A `Pause` of its own comes where nothing was spoken before it, and as the rest of more
    than ten seconds of silence, ten at a time. Text in which there is nothing to say gives nothing.
    Marks that are not understood are refused at once.
    """
    check_range("pause", pause, at_least=0, at_most=LONGEST)
    check_range("first_limit", first_limit, at_least=1, integer=True)
    check_range("limit", limit, at_least=1, integer=True)
    parts = pauses(_UNSPEAKABLE.sub(" ", text))
    pieces = _pieces(parts, language or "en", normalise, lexicon or {}, pause)
    return _with_pauses(_limited(pieces, min(first_limit, limit), limit))


def _pieces(
    parts: list[str | Pause],
    language: str,
    normalise: bool,
    lexicon: Mapping[str, str],
    pause: float,
) -> Iterator[Utterance | Pause]:
    """Give sentences in words, with the pauses usual after them, and the pauses that are marked."""
    for part in parts:
        if isinstance(part, Pause):
            yield part
            continue
        for paragraph in _PARAGRAPHS.split(part):
            last, silence = "", pause
            for sentence in each_sentence(paragraph, language):
                *begin, end = clauses(sentence, _RAW_LIMIT)
                for piece, after in [*((cut, 0.0) for cut in begin), (end, pause)]:
                    said = apply_lexicon(piece, lexicon)
                    said = in_words(said, language) if normalise else " ".join(said.split())
                    if any(map(str.isalnum, said)):
                        if last:
                            yield Utterance(last, silence)
                        last, silence = said, after
            if last:
                yield Utterance(last, pause * PARAGRAPH)


def _limited(
    pieces: Iterator[Utterance | Pause], first_limit: int, limit: int
) -> Iterator[Utterance | Pause]:
    first = True
    for piece in pieces:
        if isinstance(piece, Pause):
            yield piece
            continue
        text = piece.text
        if first and len(text) > first_limit:
            head = first_clause(text, first_limit, limit)
            if len(head) < len(text):
                yield Utterance(head)
                text = text[len(head) :].strip()
        first = False
        *begin, end = clauses(text, limit)
        yield from map(Utterance, begin)
        yield Utterance(end, piece.pause)


def _with_pauses(pieces: Iterator[Utterance | Pause]) -> Iterator[Utterance | Pause]:
    """Join each marked pause to what is spoken before it; nothing follows the last piece."""
    held: Utterance | None = None
    marked: float | None = None
    for piece in pieces:
        if isinstance(piece, Pause):
            marked = (marked or 0.0) + piece.seconds
            continue
        if held is not None:
            yield from _in_parts(held.text, held.pause if marked is None else marked)
        elif marked is not None:
            yield from _in_parts("", marked)
        held, marked = piece, None
    if held is not None:
        yield from _in_parts(held.text, marked or 0.0)
    elif marked is not None:
        yield from _in_parts("", marked)


def _in_parts(text: str, seconds: float) -> Iterator[Utterance | Pause]:
    first = min(seconds, LONGEST_PIECE)
    yield Utterance(text, first) if text else Pause(first)
    rest = seconds - first
    while rest > 0:
        yield Pause(min(rest, LONGEST_PIECE))
        rest -= LONGEST_PIECE
