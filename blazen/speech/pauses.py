"""Pauses in a text, marked as in SSML: ``<break time="500ms"/>``, ``<p>``, ``<s>``.

One rule: a text that holds a tag of SSML is marked up. Then each tag must be one that is known
here, and ``&amp;``, ``&lt;``, ``&gt;``, ``&quot;`` and ``&apos;`` stand for their characters. Any
other text is plain: its ``<`` and ``&`` are themselves, so that ``5 < 6`` and ``<div>`` are text.
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
STRENGTHS = {
    "none": 0.0,
    "x-weak": 0.1,
    "weak": 0.25,
    "medium": 0.5,
    "strong": 0.75,
    "x-strong": 1.25,
}

_TAG = re.compile(
    r"<!--.*?-->|<\?.*?\?>"
    r"|<(?P<close>/?)(?P<name>[A-Za-z][\w:.-]*)"
    r"(?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*/?>",
    re.DOTALL,
)
_SSML = (
    "audio|break|desc|emphasis|lang|lexicon|lookup|mark|metadata|meta|paragraph|phoneme|prosody"
    "|p|say-as|sentence|speak|sub|s|token|voice|w"
)
_MARKED_UP = re.compile(rf"<(?:{_SSML})(?:\s+[\w:.-]+\s*=\s*[\"'][^<]*)?\s*/?>")
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
    if not _MARKED_UP.search(text):
        return [text] if text else []
    parts: list[str | Pause] = []
    words: list[str] = []
    end = 0
    for tag in _TAG.finditer(text):
        words.append(_decoded(text[end : tag.start()]))
        end = tag.end()
        if tag["name"] is None:  # a comment or a declaration
            continue
        mark = _read(tag)
        if isinstance(mark, str):
            words.append(mark)
            continue
        _join(words, parts)
        if mark is not None:
            parts.append(mark)
    words.append(_decoded(text[end:]))
    _join(words, parts)
    return parts


def _join(words: list[str], parts: list[str | Pause]) -> None:
    text = "".join(words)
    words.clear()
    if text.strip():
        parts.append(text)


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda found: _CHARACTERS[found[1]], text)


def _read(tag: re.Match[str]) -> str | Pause | None:
    name = tag["name"]
    attributes = {key: one or two for key, one, two in _ATTRIBUTE.findall(tag["attributes"])}
    if name == "break":
        return None if tag["close"] else _pause(attributes)
    if name == "speak":
        return ""
    if name not in ("p", "s"):
        raise ValidationError(
            f"the tag {tag[0]!r:.80} is not understood: known are <break time='500ms'/>, "
            "<break strength='weak'/>, <p>, <s> and an outer <speak>; to speak the tag itself, "
            "put the text in <speak>…</speak> and write &lt; for its <"
        )
    if attributes:
        raise ValidationError(f"<{name}> has no attributes here, not {', '.join(attributes)}")
    return PARAGRAPH_BREAK if name == "p" else SENTENCE_BREAK


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
