"""The formats of texts that a model can be held to, each as a regular expression."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from blazen.schema.regex import quick_match

_LEAP = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"  # no 0000
)
_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DAYS = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = f"(?:{_YEAR}-{_DAYS}|{_LEAP}-02-29)"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?"
_ZONE = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?"
_HOST = f"{_LABEL}(?:\\.{_LABEL}){{0,3}}"
_ATOM = "[A-Za-z0-9_+-]{1,30}"

PATTERNS = {
    "date": _DATE,
    "time": f"{_CLOCK}{_ZONE}",
    "date-time": f"{_DATE}T{_CLOCK}{_ZONE}",
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "email": f"{_ATOM}(?:\\.{_ATOM})?@{_LABEL}(?:\\.{_LABEL}){{0,2}}\\.[A-Za-z]{{2,10}}",
    "ipv4": f"{_BYTE}(?:\\.{_BYTE}){{3}}",
    "ipv6": "[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){7}",
    "hostname": _HOST,
    "uri": f"https?://{_HOST}(?::[1-9][0-9]{{0,3}})?(?:/[A-Za-z0-9._~-]{{1,60}}){{0,8}}/?",
}
"""What a model may write; a text from elsewhere may be of a wider form."""


def has_format(name: str, text: str) -> bool:
    """Tell whether a text is of a format."""
    wider = _WIDER.get(name)
    return _is(PATTERNS[name], text) if wider is None else wider(text)


def _is(pattern: str, text: str) -> bool:
    return quick_match(pattern)(text) is not None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


_WIDER: dict[str, Callable[[str], bool]] = {
    "ipv6": _is_ipv6,
    "email": lambda text: _is(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)*", text),
    "hostname": lambda text: (
        len(text) <= 253
        and _is(
            r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
            r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
            text,
        )
    ),
    "uri": lambda text: _is(
        r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+", text
    ),
}
