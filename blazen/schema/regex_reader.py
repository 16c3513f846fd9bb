"""Reading a regular expression into its tree; what no engine can be held to is refused by name."""

from __future__ import annotations

import re

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema.characters import DIGITS, SPACES, WORDS, Ranges, complement, only, union
from blazen.schema.regex_tree import Chain, Chars, Edge, Node, Repeat, joined

MOST_REPEATS = 100_000
_DEEPEST = 50
_LONGEST_BOUNDS = 100

_ESCAPED_SETS = {
    "d": DIGITS, "w": WORDS, "s": SPACES,
    "D": complement(DIGITS), "W": complement(WORDS), "S": complement(SPACES),
}  # fmt: skip
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_GROUPS = {
    "(?=": "lookahead", "(?!": "negative lookahead", "(?<=": "lookbehind",
    "(?<!": "negative lookbehind", "(?>": "an atomic group", "(?P=": "a backreference",
    "(?#": "a comment", "(?(": "a conditional",
}  # fmt: skip
_EVERY_BUT_LINE_ENDS = complement(only("\n\r\u2028\u2029"))


class Reader:
    """Reads one regular expression."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        """Give the tree; anchors stand in it where they were written."""
        tree = self._choice()
        if self._at < len(self._text):
            raise self._wrong("a ')' that closes nothing")
        return tree

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return joined(options)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def _repeated(self, atom: Node) -> Node:
        bounds = self._quantifier()
        if bounds is None:
            return atom
        low, high = bounds
        if isinstance(atom, Edge):
            raise self._wrong("a repeated anchor")
        if max(low, high or 0) > MOST_REPEATS:
            raise self._unsupported(f"more than {MOST_REPEATS:,} repetitions")
        if high is not None and high < low:
            raise self._wrong(f"a repetition from {low} to {high}")
        if self._take("+"):
            raise self._unsupported("a possessive quantifier")
        self._take("?")  # a lazy quantifier finds the same whole matches as a greedy one
        if self._quantifier() is not None:
            raise self._wrong("a quantifier after a quantifier")
        return Repeat(atom, low, high)

    def _quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        counted = re.compile(r"\{(?:([0-9]+)(,([0-9]*))?|,([0-9]+))\}").match(self._text, self._at)
        if counted is None:
            return None
        self._at = counted.end()
        if counted.end() - counted.start() > _LONGEST_BOUNDS:
            raise self._unsupported(f"more than {MOST_REPEATS:,} repetitions")
        if counted[4] is not None:
            return 0, int(counted[4])
        low = int(counted[1])
        if counted[2] is None:
            return low, low
        return low, int(counted[3]) if counted[3] else None

    def _atom(self) -> Node:
        character = self._text[self._at]
        if character == "(":
            return self._group()
        if character == "[":
            return Chars(self._set())
        self._at += 1
        if character == "\\":
            return self._escape()
        if character == ".":
            return Chars(_EVERY_BUT_LINE_ENDS)
        if character in "^$":
            return Edge("^" if character == "^" else "$")
        if character in "*+?":
            raise self._wrong(f"a {character!r} with nothing to repeat")
        return Chars(only(character))

    def _group(self) -> Node:
        for opening, what in _GROUPS.items():
            if self._text.startswith(opening, self._at):
                raise self._unsupported(what)
        opened = re.compile(r"\((\?:|\?P?<[A-Za-z_]\w*>|(?!\?))").match(self._text, self._at)
        if opened is None:
            raise self._unsupported(f"the group {self._text[self._at : self._at + 4]!r} (flags)")
        self._at = opened.end()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._unsupported(f"groups more than {_DEEPEST} deep")
        inner = self._choice()
        if not self._take(")"):
            raise self._wrong("a '(' that is not closed")
        self._depth -= 1
        # A group of one alternative keeps its own node, so that anchors in it are seen as inside.
        return Chain((inner,)) if isinstance(inner, Edge) else inner

    def _escape(self) -> Node:
        mark = self._text[self._at : self._at + 1]
        if mark in ("A", "Z"):
            self._at += 1
            return Edge("^" if mark == "A" else "$")
        if mark in ("b", "B"):
            raise self._unsupported(f"the word boundary \\{mark}")
        return Chars(self._escaped_set())

    def _escaped_set(self) -> Ranges:
        mark = self._text[self._at : self._at + 1]
        if not mark:
            raise self._wrong("a lone '\\' at its end")
        self._at += 1
        if mark in _ESCAPED_SETS:
            return _ESCAPED_SETS[mark]
        if mark in _ESCAPED:
            return only(_ESCAPED[mark])
        if mark in "xu":
            return self._hexadecimal(2 if mark == "x" else 4)
        if mark in "123456789k":
            raise self._unsupported(f"the backreference \\{mark}")
        if mark in "pP":
            raise self._unsupported(f"the Unicode property \\{mark}")
        if mark.isalnum():
            raise self._unsupported(f"the escape \\{mark}")
        return only(mark)

    def _hexadecimal(self, digits: int) -> Ranges:
        text = self._text[self._at : self._at + digits]
        if not re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}", text):
            raise self._wrong(f"an escape that needs {digits} hexadecimal digits, not {text!r}")
        code = int(text, 16)
        if 0xD800 <= code <= 0xDFFF:
            raise self._unsupported(f"the half of a character \\u{text}")
        self._at += digits
        return only(chr(code))

    def _set(self) -> Ranges:
        self._at += 1
        negated = self._take("^")
        found: Ranges = ()
        first = True
        while first or not self._text.startswith("]", self._at):
            if self._at >= len(self._text):
                raise self._wrong("a '[' that is not closed")
            first = False
            low = self._set_item()
            if (
                self._text.startswith("-", self._at)
                and not self._text.startswith("-]", self._at)
                and self._at + 1 < len(self._text)
            ):
                self._at += 1
                low = self._range(low, self._set_item())
            found = union(found, low)
        self._at += 1
        chosen = complement(found) if negated else found
        if not chosen:
            raise self._wrong("a set that no character is in")
        return chosen

    def _range(self, low: Ranges, high: Ranges) -> Ranges:
        ends = (*low, *high)
        if len(ends) != 2 or any(first != last for first, last in ends) or low[0] > high[0]:
            raise self._wrong("a range whose ends are not two characters in order")
        return complement(complement(((low[0][0], high[0][0]),)))

    def _set_item(self) -> Ranges:
        character = self._text[self._at]
        self._at += 1
        if character != "\\":
            return only(character)
        if self._take("b"):
            return only("\b")
        return self._escaped_set()

    def _take(self, text: str) -> bool:
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _wrong(self, what: str) -> ValidationError:
        return ValidationError(f"the regular expression {self._text!r:.80} has {what}")

    def _unsupported(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"{what} in the regular expression {self._text!r:.80}: no engine can be held to it"
        )
