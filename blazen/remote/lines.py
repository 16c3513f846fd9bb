"""Server-sent events as they come, passed on in whole lines and within what can be read quickly.

The SDKs copy what they have of a line for each part of it that comes, and what they have of an
event for each of its lines: of long ones that takes time that grows with its square.
"""

from __future__ import annotations

_ENDS = (b"\n", b"\r")
_BLANK = (b"\n\n", b"\n\r\n", b"\r\r")

MOST_COPIED = 1 << 28
"""How many bytes may be copied for one event: an image may be large, but it is one line."""


class Lines:
    """The lines of an answer, put together from the pieces in which they come."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._tail = b""
        self._size = self._count = 0

    def add(self, piece: bytes) -> bytes:
        """Give the lines that are whole with this piece; what came of the next one is kept."""
        if self._held or not piece.endswith(_ENDS):
            end = max(map(piece.rfind, _ENDS)) + 1
            self._held.append(piece[:end] if end else piece)
            if not end:
                return b""
            rest = piece[end:]
            piece = b"".join(self._held)
            self._held = [rest] if rest else []
        self._measure(piece)
        return piece

    def rest(self) -> bytes:
        """Give what came of a line that never ended."""
        return b"".join(self._held)

    @property
    def are_too_many(self) -> bool:
        """Whether an event has more lines than can be read quickly at its size."""
        return self._size * self._count > MOST_COPIED

    def _measure(self, lines: bytes) -> None:
        """Measure the event that these lines go on with, or else the one that they begin."""
        seen = self._tail + lines
        self._tail = b"" if lines.endswith(_BLANK) else seen[-3:]
        first = min((place for place in map(seen.find, _BLANK) if place >= 0), default=None)
        self._size += len(lines) if first is None else first
        self._count += _count(lines if first is None else seen[:first])
        if first is not None and not self.are_too_many:
            begun = seen[max(map(seen.rfind, _BLANK)) + 2 :]
            self._size, self._count = len(begun), _count(begun)


def _count(lines: bytes) -> int:
    return lines.count(b"\n") + lines.count(b"\r") + 1
