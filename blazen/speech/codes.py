"""English telephone numbers, codes, versions and digits in groups, in words."""

from __future__ import annotations

import re

from blazen.speech.numbers import cardinal, spelled

_PHONE = re.compile(
    r"(?<![\w.,/-])(?P<plus>\+\s?)?(?P<number>"
    r"(?:1[\s.-]?)?\(\d{3}\)\s?\d{3}[\s.-]\d{4}|(?:1[\s.-])?\d{3}([.-])\d{3}\3\d{4}|1?\d{3}[\s-]\d{3}-\d{4}"
    r"|\d{3}-\d{4}|(?<=\+)\d{1,3}(?:[\s.-]?\(?\d{1,5}\)?){2,6}|(?<=\+\s)\d{1,3}(?:[\s.-]?\(?\d{1,5}\)?){2,6}"
    r"|0\d{2,4}\s\d{3,4}(?:\s?\d{3,4})?|0\d{4}\s\d{5,6})(?![\w/-]|[.,]\d)"
)
_CALLED = re.compile(
    r"\b((?:[Cc]all|[Dd]ial|[Rr]ing|[Pp]hone|[Tt]ext|PIN|[Pp]in|[Pp]asscode|[Pp]assword|[Cc]ode"
    r"|[Zz]ip code|ZIP|[Ee]xtension|[Ee]xt\.?)(?:\s(?:is|to|at))?\s)(\d{3,6})"
    r"(?![\w-]|[.,]\d|\s(?:people|times|friends|customers|clients|numbers|voters|men|women)\b)"
)
_VERSION = re.compile(r"(?<![\w.,])(?P<v>[vV])?(?P<parts>\d+(?:\.\d+){2,5})(?!\w|\.\d)")
_NAMED_VERSION = re.compile(
    r"(?P<name>\b(?:version|versions|release|Python|Node|Java|PHP|Ruby|Django|Ubuntu|macOS|iOS|Android)\s)"
    r"(?P<parts>\d+\.\d+)(?![\w,]|\.\d)"
)
# "V8" is an engine, "V8.1" and "v8" are versions.
_SHORT_V = re.compile(r"(?<!\w)(?!V\d+(?!\d|\.\d))[vV]\.?(?P<parts>\d+(?:\.\d+)?)(?!\w|\.\d)")
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\d)")
_HEXADECIMAL = re.compile(r"(?<!\w)0[xX]([0-9A-Fa-f]+)(?!\w)")
_SPACED = re.compile(
    r"(?<![\w.,+])(?<!\w-)(?<!\d\s)(?:[1-9]\d{0,2}(?:[\u00a0\u202f]\d{3})+|[1-9]\d?(?:\ \d{3}){2,}"
    r"|[1-9]\d{0,2}(?:\ \d{3})*\ 000)(?![\w-]|[.,]\d|\s\d)"
)


def phones(text: str) -> str:
    """Say telephone numbers and codes digit by digit, with a breath between groups."""

    def said(found: re.Match[str]) -> str:
        groups = re.findall(r"\d+", found["number"])
        words = ", ".join(spelled(group) for group in groups)
        return ("plus " if found["plus"] else "") + words

    text = _CALLED.sub(lambda found: found[1] + spelled(found[2]), text)
    return _PHONE.sub(lambda found: said(found) if _is_phone(found) else found[0], text)


def spaced(text: str) -> str:
    """Join a number that is written in groups with blanks; say one with letters for digits."""
    text = _SPACED.sub(lambda found: re.sub(r"\s", "", found[0]), text)
    return _HEXADECIMAL.sub(
        lambda found: (
            "zero x "
            + " ".join(spelled(sign) if sign.isdecimal() else sign.upper() for sign in found[1])
        ),
        text,
    )


def versions(text: str, british: bool) -> str:
    """Say versions part by part, and addresses of computers with their dots."""

    def part(digits: str) -> str:
        return cardinal(digits, british=british)

    def said(found: re.Match[str], start: str = "") -> str:
        return start + " point ".join(map(part, found["parts"].split(".")))

    text = _ADDRESS.sub(lambda found: " dot ".join(map(part, found[0].split("."))), text)
    text = _VERSION.sub(
        lambda found: said(found, _version_word(text, found) if found["v"] else ""), text
    )
    text = _NAMED_VERSION.sub(lambda found: found["name"] + said(found), text)
    return _SHORT_V.sub(lambda found: said(found, _version_word(text, found)), text)


def _version_word(text: str, found: re.Match[str]) -> str:
    return "" if re.search(r"\bversion\s$", text[: found.start()][-9:]) else "version "


def _is_phone(found: re.Match[str]) -> bool:
    return len(re.sub(r"\D", "", found["number"])) >= 7
