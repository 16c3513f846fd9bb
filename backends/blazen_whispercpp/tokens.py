"""From the engine's tokens to text and words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from blazen.types.transcription import Word

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "yue", "bo"})
"""Languages written without spaces: there, each character is a word."""
_JOINED = frozenset(".,;:!?%)]}»”’…。，、！？：；）」』】")
"""Marks that belong to the word before them."""
_OPENING = frozenset("([{«“‘¿¡\"'-「『【（")

QUICKEST = 20
"""Letters a second: who speaks quickly comes up to that."""
_RUSHED_TIMES, _RUSHED_LETTERS = 2, 20
"""Times are rough: so many times as quick, and so many letters more, is sure to be wrong."""
_LOOP_TIMES = 4
_LOOP_TOKENS = 20
_LONGEST_LOOP = 48


@dataclass(frozen=True)
class Token:
    """A piece of text, which may hold part of a character, and when it was said, in seconds."""

    id: int
    data: bytes
    start: float
    end: float
    probability: float


def text_of(tokens: Sequence[Token]) -> str:
    """Give the text; what is no whole character is left out."""
    return b"".join(token.data for token in tokens).decode("utf-8", "ignore")


def whole_characters(segments: list[list[Token]]) -> list[list[Token]]:
    """Move the bytes of a character that two segments share to the one that ends it."""
    out, carried = list[list[Token]](), list[Token]()
    for tokens in segments:
        tokens = [*carried, *tokens]
        carried = []
        while tokens and _ends_inside(b"".join(token.data for token in tokens)):
            carried.insert(0, tokens.pop())
        out.append(tokens)
    return out


def is_rushed(tokens: Sequence[Token], seconds: float) -> bool:
    """Say whether no one could say this in so short a time: some of it was invented."""
    return len(text_of(tokens)) > _RUSHED_TIMES * QUICKEST * seconds + _RUSHED_LETTERS


def without_loops(tokens: list[Token], seconds: float) -> list[Token]:
    """Cut a phrase that is said over and over down to once, where no one could say it so quickly.

    The engine got stuck there. What is truly said four times takes its time, and stays.
    """
    if sum(len(token.data) for token in tokens) <= QUICKEST * seconds:
        return tokens
    ids = [token.id for token in tokens]
    for start in range(len(ids)):
        for period in range(1, min(_LONGEST_LOOP, (len(ids) - start) // _LOOP_TIMES) + 1):
            end = start + period
            while ids[end : end + period] == ids[start : start + period]:
                end += period
            if end - start >= max(_LOOP_TOKENS, _LOOP_TIMES * period):
                return without_loops(tokens[: start + period] + tokens[end:], seconds)
    return tokens


def words_of(tokens: Sequence[Token], language: str | None, start: float, end: float) -> list[Word]:
    """Give the words, whose times rise and lie within the segment's."""
    words = list[Word]()
    opening = ""
    before = start
    for group in _groups(tokens, spaced=language not in UNSPACED):
        text = text_of(group)
        if not text.strip():
            continue
        first = min(max(group[0].start, before), end)
        last = min(max(group[-1].end, first), end)
        if words and all(mark in _JOINED for mark in text.strip()):
            joined = words[-1].text + text.rstrip()
            words[-1] = replace(words[-1], text=joined, end=max(words[-1].end, last))
            continue
        if all(mark in _OPENING for mark in text.strip()):
            opening += text.strip()
            continue
        before = last
        probability = sum(token.probability for token in group) / len(group)
        words.append(Word(opening + text.strip(), first, last, min(1.0, probability)))
        opening = ""
    if opening and words:
        words[-1] = replace(words[-1], text=words[-1].text + opening)
    return words


def _groups(tokens: Sequence[Token], *, spaced: bool) -> Iterator[list[Token]]:
    """Put together the tokens of a word, or of a character where there are no spaces."""
    group = list[Token]()
    for token in tokens:
        whole = group and not _ends_inside(b"".join(piece.data for piece in group))
        if whole and (not spaced or token.data.startswith(b" ")):
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _ends_inside(data: bytes) -> bool:
    """Say whether the bytes end within a character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return length > back
    return False
