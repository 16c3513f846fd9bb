"""Server-sent events, cut out of the bytes in which they come."""

from __future__ import annotations

from collections.abc import Iterator


class Events:
    """Takes bytes as they come, and gives each event that is whole: its name and its data."""

    def __init__(self) -> None:
        self._is_first = True
        self._rest = bytearray()
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[tuple[str, str]]:
        """Give the events that these bytes complete."""
        if b"\n" not in piece and b"\r" not in piece and not self._rest.endswith(b"\r"):
            self._rest += piece  # a mesh in one line comes in thousands of pieces
            return
        # A line ends with \n, \r\n or \r; the last may be the first half of \r\n.
        text = (bytes(self._rest) + piece).replace(b"\r\n", b"\n")
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, last = text[: len(text) - len(held)].replace(b"\r", b"\n").split(b"\n")
        self._rest = bytearray(last + held)
        for line in lines:
            yield from self._line(line.decode("utf-8", "replace"))

    def end(self) -> Iterator[tuple[str, str]]:
        """Give the event that was whole but for the empty line after it."""
        yield from self.feed(b"\n")
        yield from self._line("")

    def _line(self, line: str) -> Iterator[tuple[str, str]]:
        if self._is_first:
            self._is_first, line = False, line.removeprefix("\ufeff")
        if not line:
            name, data = self._name, self._data
            self._name, self._data = "", []
            if data:
                yield name, "\n".join(data)
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
