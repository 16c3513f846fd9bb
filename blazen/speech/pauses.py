"""Pauses in a text, marked as in SSML: ``<break time="500ms"/>``, ``<p>``, ``<s>``.

One rule: a text that holds a ``<break …/>``, or that is in an outer ``<speak>``, is marked up.
Then each tag must be one that is known here, and ``&amp;``, ``&lt;``, ``&gt;``, ``&quot;`` and
``&apos;`` stand for their characters. Any other text is plain: its ``<`` and ``&`` are themselves,
so that ``5 < 6`` and ``<div>`` are text. So is code, between backticks or in a fence, in any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from blazen.checks import check_choice, check_range
from blazen.errors import ValidationError
from blazen.types.record import Record

SENTENCE_BREAK = "\u2028"
PARAGRAPH_BREAK = "\u2029"
"""Unicode's line and paragraph separator: what ``<s>`` and ``<p>`` become inside a text."""

LONGEST = 60.0
# How far a fence may stand from the beginning of its line, as it does in lists.
_DEEPEST = 16
STRENGTHS = {
    "none": 0.0,
    "x-weak": 0.1,
    "weak": 0.25,
    "medium": 0.5,
    "strong": 0.75,
    "x-strong": 1.25,
}

_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z][\w:.-]*)"
    r"(?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*/?>"
)
_OPENING = re.compile(r"<(?P<kind>!--|\?|![A-Za-z]|/?[A-Za-z])")
_BREAK = re.compile(r"<break(?=[\s/>])[^<>]*>", re.IGNORECASE)
_SPEAK = re.compile(r"<speak(?=[\s>])[^<>]*>", re.IGNORECASE)
_BLANKS = re.compile(r"[\s\ufeff]*")
_TICKS = re.compile(r"`+|~{3,}")
# Characters that no text has, in the place of those that mean something outside of code.
_MASKED = {ord("<"): "\ufdd0", ord("&"): "\ufdd1"}
_UNMASKED = {ord(mask): chr(sign) for sign, mask in _MASKED.items()}
_UNSPOKEN = {"!--": "-->", "?": "?>"}
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_TIME = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)(ms|s)")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_CHARACTERS = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


@dataclass(frozen=True)
class Pause(Record):
    """Silence of some seconds."""

    seconds: float

    def __post_init__(self) -> None:
        check_range("a pause in seconds", self.seconds, at_least=0, at_most=LONGEST)


def pauses(text: str) -> list[str | Pause]:
    """Give the text in parts, with the pauses that are marked between them.

    A tag that is no pause, paragraph or sentence is refused by its name: reading it out, or leaving
    out what it asks for, would both be wrong.
    """
    masked = _without_code(text) if "<" in text else text
    if not _BREAK.search(masked) and not _is_document(masked):
        return [text] if text else []
    parts: list[str | Pause] = []
    words: list[str] = []
    unended: set[str] = set()
    start = end = 0
    while opening := _OPENING.search(masked, start):
        start = opening.start()
        if not opening["kind"].lstrip("/").isalpha():  # a comment or a declaration
            after = _after_unspoken(masked, opening, unended)
            if after is None:
                start = opening.end()
                continue
            words.append(_decoded(masked[end:start]))
            start = end = after
            continue
        tag = _TAG.match(masked, start)
        if tag is None:
            raise _unknown(re.split(r"[<>]", masked[start : start + 80])[1])
        words.append(_decoded(masked[end:start]))
        start = end = tag.end()
        mark = _read(tag)
        if isinstance(mark, str):
            words.append(mark)
            continue
        _join(words, parts)
        if mark is not None:
            parts.append(mark)
    words.append(_decoded(masked[end:]))
    _join(words, parts)
    return parts


def _without_code(text: str) -> str:
    """Hide the signs in code, which is between as many backticks, or in a fence."""
    if "`" not in text and "~~~" not in text:
        return text
    runs = list(_TICKS.finditer(text))
    following: list[int | None] = [None] * len(runs)
    latest: dict[str, int] = {}
    for place in reversed(range(len(runs))):
        following[place] = latest.get(runs[place][0])
        latest[runs[place][0]] = place
    parts, end, place = [], 0, 0
    while place < len(runs):
        run = runs[place]
        close: int | None
        if len(run[0]) >= 3 and _begins_line(text, run.start()):
            close = _end_of_fence(text, runs, place)
        elif run[0].startswith("`"):
            close = following[place]
            if close is not None and text.find("\n\n", run.end(), runs[close].start()) >= 0:
                close = None  # code between single backticks goes over no paragraph
        else:
            close = None
        if close is None:
            place += 1
            continue
        last = runs[close].start() if close < len(runs) else len(text)
        parts += [text[end : run.end()], text[run.end() : last].translate(_MASKED)]
        end, place = last, close + 1
    return "".join([*parts, text[end:]])


def _begins_line(text: str, place: int) -> bool:
    before = text[max(place - _DEEPEST, 0) : place]
    line = before.rpartition("\n")[2]
    return not line.strip() and (line != before or place <= _DEEPEST)


def _end_of_fence(text: str, runs: list[re.Match[str]], place: int) -> int:
    """Give the run that ends a fence; one that is not ended goes on to the end."""
    fence = runs[place][0]
    for number in range(place + 1, len(runs)):
        if runs[number][0].startswith(fence) and _begins_line(text, runs[number].start()):
            return number
    return len(runs)


def _is_document(text: str) -> bool:
    """Say whether the first tag of a text is an outer <speak>."""
    start = 0
    while True:
        blank = _BLANKS.match(text, start)
        start = blank.end() if blank else start
        if _SPEAK.match(text, start):
            return True
        opening = _OPENING.match(text, start)
        if opening is None or opening["kind"].lstrip("/").isalpha():
            return False
        after = _after_unspoken(text, opening, set())
        if after is None:
            return False
        start = after


def _after_unspoken(text: str, opening: re.Match[str], unended: set[str]) -> int | None:
    """Give where a comment or declaration ends; what was looked for in vain is kept."""
    end = _UNSPOKEN.get(opening["kind"], ">")
    place = -1 if end in unended else text.find(end, opening.end())
    if place < 0:
        unended.add(end)
        return None
    return place + len(end)


def _join(words: list[str], parts: list[str | Pause]) -> None:
    text = "".join(words).translate(_UNMASKED)
    words.clear()
    if text.strip():
        parts.append(text)


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda found: _CHARACTERS[found[1]], text)


def _read(tag: re.Match[str]) -> str | Pause | None:
    name = tag["name"].lower()
    attributes = {key: one or two for key, one, two in _ATTRIBUTE.findall(tag["attributes"])}
    if name == "break":
        return None if tag["close"] else _pause(attributes)
    if name == "speak":
        return ""
    if name not in ("p", "s"):
        raise _unknown(tag[0][1:-1])
    if attributes:
        raise ValidationError(f"<{name}> has no attributes here, not {', '.join(attributes)}")
    return PARAGRAPH_BREAK if name == "p" else SENTENCE_BREAK


def _unknown(tag: str) -> ValidationError:
    tag = f"<{tag.translate(_UNMASKED)}>"
    return ValidationError(
        f"the tag {tag!r:.80} is not understood: known are <break time='500ms'/>, "
        "<break strength='weak'/>, <p>, <s> and an outer <speak>, each value in quotes; "
        "to speak the tag itself, write &lt; for its < or put it between backticks"
    )


def _pause(attributes: dict[str, str]) -> Pause:
    unknown = attributes.keys() - {"time", "strength"}
    if unknown:
        raise ValidationError(f"<break> has time and strength, not {', '.join(sorted(unknown))}")
    if "strength" in attributes:
        check_choice("the strength of a <break>", attributes["strength"], STRENGTHS)
    if "time" not in attributes:
        return Pause(STRENGTHS[attributes.get("strength", "medium")])
    time = _TIME.fullmatch(attributes["time"].strip())
    if not time:
        raise ValidationError(
            f"the time of a <break> is like '500ms' or '1.5s', not {attributes['time']!r:.40}"
        )
    return Pause(float(time[1]) / (1000 if time[2] == "ms" else 1))
