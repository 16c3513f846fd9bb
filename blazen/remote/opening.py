"""How an answer opens: as what was asked for, or as an error, or a page of something in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from blazen.remote.failures import shortened

EVENTS = "an event stream"
OBJECT = "a JSON object"

_ENOUGH = 6
"""So many bytes tell how it opens: the longest name of an event's field, with its colon."""
_MOST = 64 * 1024
"""No error says more."""
_BLANK = b" \t\r\n\xef\xbb\xbf"
_OPENS = {EVENTS: (b"data:", b"event:", b"id:", b"retry:", b":"), OBJECT: (b"{",)}


class Opening:
    """The first bytes of an answer, held until they show whether it is what was asked for."""

    def __init__(self, wanted: str, kind: str) -> None:
        self._wanted = wanted
        self._kind = kind
        self._held = bytearray()
        self.is_wrong = False
        """Whether it is something else; then all that comes is held."""

    @classmethod
    def doubted(cls, wanted: str, content_type: str) -> Opening | None:
        """Begin to look where there is a doubt; ``None``: it says that it is what was asked for.

        Of a stream only its content type tells, but some servers call events so that are none of
        these.
        """
        kind = content_type.partition(";")[0].strip().lower()
        is_page = "html" in kind or kind == "application/json" or kind.endswith("+json")
        return cls(wanted, kind) if is_page or wanted == OBJECT else None

    def add(self, piece: bytes) -> bytes:
        """Give what may be passed on: nothing as long as that is not known."""
        self._held += piece
        if self.is_wrong:
            return b""
        self._held = self._held.lstrip(_BLANK)  # some send blanks until they have an answer
        return b"" if len(self._held) < _ENOUGH else self.end()

    def end(self) -> bytes:
        """Give what may be passed on, where no more comes."""
        self.is_wrong = self.is_wrong or not self._held.startswith(_OPENS.get(self._wanted, ()))
        return b"" if self.is_wrong else bytes(self._held)

    def error(self) -> Mapping[str, Any] | None:
        """Give what it is where it tells of an error."""
        try:
            told = json.loads(self._held[:_MOST])
        except (ValueError, RecursionError):
            return None
        if isinstance(told, list) and len(told) == 1:
            told = told[0]  # as Google has it
        if not isinstance(told, Mapping):
            return None
        is_error = told.get("error") or told.get("errors") or told.get("type") == "error"
        return told if is_error else None

    def described(self, hide: Callable[[str], str]) -> str:
        """Say what it is, and what it should have been."""
        text = shortened(hide(self._held[:_MOST].decode("utf-8", "replace")))
        kind = shortened(self._kind)[:60] or "something"
        if not text:
            return f"{kind} that holds nothing, instead of {self._wanted}"
        return f"what can't be understood: {kind} instead of {self._wanted}: {text!r:.200}"
