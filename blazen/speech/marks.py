"""What is seen and not said: Markdown, emoji; and addresses of the web, which are said in words."""

from __future__ import annotations

import re

_URL = re.compile(r"(?:https?|ftp)://[^\s<>\"'`]+|\bwww\.[^\s<>\"'`]+", re.IGNORECASE)
_EMAIL = re.compile(r"(?:mailto:)?\b([\w.+-]{1,64})@(\w[\w-]*(?:\.\w[\w-]*)+)")
_DOMAIN = re.compile(
    r"(?<![\w@./])((?:[A-Za-z0-9-]{1,63}\.)+(?:com|org|net|io|dev|ai|edu|gov|info|app|co\.uk|de|fr|eu))"
    r"(/[^\s<>\"'`]*)?(?![\w@])"
)
_TRAILING = ".,;:!?)]}'\"*_"
_SIGNS = {".": "dot", "/": "slash", "-": "dash", "_": "underscore", "+": "plus", "~": "tilde"}

_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_FENCE = re.compile(r"^\s*(?:```+|~~~+)[\w+-]*\s*$|```+", re.MULTILINE)
_RULE = re.compile(
    r"^\s*(?:[-*_=]\s*){3,}$|^\s*\|?(?:\s*:?-{3,}:?\s*\|)+\s*:?-*:?\s*$", re.MULTILINE
)
_LEAD = re.compile(r"^\s*(?:>\s*)*(?:#{1,6}\s+|[-*+•‣◦▪]\s+(?:\[[ xX]\]\s+)?|>\s*)", re.MULTILINE)
_NUMBER_LEAD = re.compile(r"^(\s*)\(?(\d{1,3})[.)]\s+(?=\S)")
# A star or underscore counts as a mark where it touches a word from one side only.
_EMPHASIS = re.compile(
    r"\*\*+|(?<!\w)__+(?=\S)|(?<=\S)__+(?!\w)|~~|`+"
    r"|(?<![\w*])\*(?=[^\s*\d])|(?<=[^\s*])\*(?![\w*])|(?<!\w)_(?=\w)|(?<=[\w.!?,])_(?!\w)"
)
_CELL = re.compile(r"\s*\|\s*")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\U000e0020-\U000e007f"
    "\ufe0e\ufe0f\u200d\u20e3\u2122\u00ae\u200b\u2060\ufeff\u00ad]+"
)
_BEFORE_STOP = re.compile(r"(?<=\w)\s+(?=[.,;:!?](?:\s|$))")


def without_marks(text: str) -> str:
    """Leave out Markdown's marks and emoji; a link keeps its text."""
    text = _LINK.sub(r"\1", text)
    text = _FENCE.sub(" ", text)
    text = _RULE.sub(" ", text)
    text = _LEAD.sub("", text)
    text = _NUMBER_LEAD.sub(r"\1\2, ", text)
    text = _EMPHASIS.sub("", text)
    if "|" in text:
        text = _CELL.sub(", ", text.strip().strip("|"))
    dropped = _EMOJI.sub(" ", text)
    return _BEFORE_STOP.sub("", dropped) if dropped != text else text


def addresses(text: str) -> str:
    """Say web and e-mail addresses in words; what follows a ``?`` or ``#`` in one is left out."""
    text = _URL.sub(_url, text)
    text = _EMAIL.sub(lambda found: f"{_said(found[1])} at {_said(found[2])}", text)
    return _DOMAIN.sub(lambda found: _said(found[0].rstrip("/")), text)


def _url(found: re.Match[str]) -> str:
    address = found[0].rstrip(_TRAILING)
    after = found[0][len(address) :]
    address = re.sub(r"^\w+://", "", address)
    address = re.sub(r"^www\.", "", address, flags=re.IGNORECASE)
    return _said(re.split(r"[?#]", address)[0].rstrip("/")) + after.strip("*_")


def _said(address: str) -> str:
    return re.sub(r"[^\w]|_", lambda sign: f" {_SIGNS.get(sign[0], '')} ", address).strip()
