"""Matching a whole text in time that no pattern blows up.

Python's own engine tries one way after another, and ``(\\w+\\s?)+\\.`` has more ways through an
answer that was cut than there is time. Here all ways go on at once: the places that they have
reached are the bits of one number.
"""

from __future__ import annotations

from blazen.schema.characters import Ranges
from blazen.schema.regex_tree import Chain, Chars, Choice, Node, Repeat


def matches(node: Node, text: str) -> bool:
    """Tell whether a tree matches a text from its first character to its last."""
    return bool(_Match(text).after(node, 1) >> len(text) & 1)


class _Match:
    def __init__(self, text: str) -> None:
        self._text = text
        self._letters = {ord(letter) for letter in text}
        self._known: dict[Ranges, int] = {}

    def after(self, node: Node, places: int) -> int:
        """Give the places that a match may end at, of those it may begin at."""
        if not places:
            return 0
        if isinstance(node, Chars):
            return (places & self._where(node.ranges)) << 1
        if isinstance(node, Chain):
            for part in node.parts:
                places = self.after(part, places)
            return places
        if isinstance(node, Choice):
            reached = 0
            for option in node.options:
                reached |= self.after(option, places)
            return reached
        assert isinstance(node, Repeat)
        return self._repeated(node, places)

    def _repeated(self, node: Repeat, places: int) -> int:
        for _ in range(node.low):
            further = self.after(node.body, places)
            if further == places or not further:
                places = further
                break
            places = further
        if node.high is None and isinstance(node.body, Chars):
            # The sum carries each place through the run of fitting characters that it stands in.
            fitting = self._where(node.body.ranges)
            return (((places & fitting) + fitting) ^ fitting) | places
        fresh = places
        count = node.low
        while fresh and (node.high is None or count < node.high):
            fresh = self.after(node.body, fresh) & ~places
            places |= fresh
            count += 1
        return places

    def _where(self, ranges: Ranges) -> int:
        """Give the places at which a character of a set stands."""
        found = self._known.get(ranges)
        if found is None:
            bits = {
                code: "1" if any(low <= code <= high for low, high in ranges) else "0"
                for code in self._letters
            }
            found = int(self._text.translate(bits)[::-1] or "0", 2)
            self._known[ranges] = found
        return found
