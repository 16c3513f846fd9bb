"""Grammars in llama.cpp's notation, GBNF: rules are added one by one, each under a name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema.characters import Ranges
from blazen.schema.regex import parse_regex
from blazen.schema.regex_tree import Chain, Chars, Choice, Node, Repeat, without_nothing

_MOST_AT_ONCE = 1000
"""llama.cpp forgets the bound of a repetition above 2,000, and stumbles at 2,000 itself."""
_MOST_PARTS = 50_000


class Grammar:
    """A grammar in the making; ``str(grammar)`` is its text.

    What the methods give is a piece of a rule's body, to be put together with others::

        grammar = Grammar()
        answer = grammar.json({"type": "integer"})
        grammar.root(f'{grammar.literal("The answer is ")} {answer} "."')
    """

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._parts = 0
        self.shared: dict[str, str] = {}
        """Names of rules that every schema in this grammar uses, by what they are."""
        self._root: str | None = None

    def __str__(self) -> str:
        if self._root is None:
            raise ValidationError("a grammar needs a root: call Grammar.root(body)")
        lines = [f"root ::= {self._root}"]
        lines += [f"{name} ::= {body}" for name, body in self._rules.items()]
        return "\n".join(lines) + "\n"

    def root(self, body: str) -> None:
        """Set the rule that a whole text must follow."""
        self._root = body

    def rule(self, name: str, body: str) -> str:
        """Add a rule and give its name; the same body is added once."""
        known = self._names.get(body)
        if known is None:
            known = self.reserve(name)
            self._names[body] = known
            self._rules[known] = body
        return known

    def reserve(self, name: str) -> str:
        """Give a name that no rule has, for a rule that must know it before it is made."""
        free = name
        while free in self._rules or free == "root":
            free = f"{name}-{len(self._rules)}"
        self._rules[free] = ""
        return free

    def define(self, name: str, body: str) -> None:
        """Give a reserved name its rule."""
        self._rules[name] = body

    @staticmethod
    def literal(text: str) -> str:
        """Give the piece that is exactly this text."""
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValidationError(f"{text!r:.80} holds a half of a character: no model writes it")
        return f'"{"".join(map(_in_literal, text))}"'

    @staticmethod
    def characters(ranges: Ranges) -> str:
        """Give the piece that is one character of a set."""
        if not ranges:
            raise ValidationError("a set without characters can't be matched")
        return f"[{''.join(_in_class(low, high) for low, high in ranges)}]"

    def repeat(self, name: str, low: int, high: int | None) -> str:
        """Give the piece that is a rule again and again; any bound works, however large."""
        least = self._exactly(name, low)
        if high is None:
            return f"{name}+" if low == 1 else f"{least} {name}*".strip()
        return f"{least} {self._at_most(name, high - low)}".strip()

    def json(self, schema: Any) -> str:
        """Give the piece that is JSON of a schema; ``True`` or ``{}`` is any JSON."""
        from blazen.schema.json_rules import JsonRules
        from blazen.schema.keywords import check_schema

        return JsonRules(self, check_schema(schema)).start()

    def regex(self, pattern: str) -> str:
        """Give the piece that a regular expression matches as a whole."""
        return self.tree(parse_regex(pattern), self.characters)

    def tree(self, node: Node, characters: Callable[[Ranges], str]) -> str:
        """Give the piece of a parsed regular expression; ``characters`` writes a set of them."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise UnsupportedError(
                f"a regular expression makes a grammar of more than {_MOST_PARTS:,} parts: it "
                "repeats too much of what may be left out"
            )
        if isinstance(node, Chars):
            return characters(node.ranges)
        if isinstance(node, Chain):
            return " ".join(self.tree(part, characters) for part in node.parts) or '""'
        if isinstance(node, Choice):
            return f"({' | '.join(self.tree(option, characters) for option in node.options)})"
        assert isinstance(node, Repeat)
        body = without_nothing(node.body)
        if body is None:
            return '""'
        low = node.low if body == node.body else 0
        return self.repeat(self.rule("part", self.tree(body, characters)), low, node.high) or '""'

    def _exactly(self, name: str, count: int) -> str:
        chunks, rest = divmod(count, _MOST_AT_ONCE)
        pieces = []
        if chunks:
            chunk = self.rule("chunk", f"{name}{{{_MOST_AT_ONCE}}}")
            pieces.append(chunk if chunks == 1 else f"{chunk}{{{chunks}}}")
        if rest:
            pieces.append(name if rest == 1 else f"{name}{{{rest}}}")
        return " ".join(pieces)

    def _at_most(self, name: str, count: int) -> str:
        if count <= _MOST_AT_ONCE:
            return "" if count == 0 else f"{name}?" if count == 1 else f"{name}{{0,{count}}}"
        # Either a whole chunk and more, or less than a chunk: never two ways to the same text.
        chunk = self.rule("chunk", f"{name}{{{_MOST_AT_ONCE}}}")
        chunks, rest = divmod(count, _MOST_AT_ONCE)
        tail = self._at_most(name, rest) or '""'
        for _ in range(chunks):
            tail = self.rule("up-to", f"{chunk} {tail} | {name}{{0,{_MOST_AT_ONCE - 1}}}")
        return tail


_OTHER_THAN_NAMES = re.compile(
    r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|!?<[^>\n]*>', re.DOTALL
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_DEFINED = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\s*::=")


def check_grammar(text: str) -> str:
    """Refuse a GBNF text that plainly is none; the engine that gets it reads it in full."""
    rules = [line for line in text.splitlines() if "::=" in line.partition("#")[0]]
    if not any(line.partition("::=")[0].strip() == "root" for line in rules):
        raise ValidationError("a grammar needs a rule named root: 'root ::= ...'")
    closing = _unclosed(text)
    if closing:
        raise ValidationError(f"the grammar is not balanced: {closing}")
    names = _OTHER_THAN_NAMES.sub(" ", text)
    missing = set(_NAME.findall(names)) - set(_DEFINED.findall(names))
    if missing:
        raise ValidationError(f"the grammar has no rule named {', '.join(sorted(missing))}")
    return text


def _unclosed(text: str) -> str:
    opened: list[str] = []
    pairs = {")": "("}
    inside = ""
    characters = iter(text)
    for character in characters:
        if character == "\\" and inside:
            next(characters, None)
        elif inside:
            inside = "" if character == inside or (inside == "#" and character == "\n") else inside
        elif character in '"#[':
            inside = "]" if character == "[" else character
        elif character == "(":
            opened.append(character)
        elif character in pairs and (not opened or opened.pop() != pairs[character]):
            return f"a {character!r} closes nothing"
    if inside in ('"', "]"):
        return f"a {inside!r} is missing"
    return "a ')' is missing" if opened else ""


def _in_literal(character: str) -> str:
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    if character in named:
        return named[character]
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x20 or code == 0x7F else character


def _in_class(low: int, high: int) -> str:
    return _code(low) if low == high else f"{_code(low)}-{_code(high)}"


def _code(code: int) -> str:
    if code < 0x80:
        return chr(code) if chr(code).isalnum() else f"\\x{code:02X}"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
