"""The rules of JSON that fits a schema, written for a grammar.

The JSON is a little narrower than it might be, so that a model can't lose itself in it: between two
marks there is at most a line break with its indentation, and numbers have a bounded length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from blazen.schema.characters import Ranges, common, complement, only
from blazen.schema.gbnf import Grammar
from blazen.schema.numbers import integers, numbers
from blazen.schema.regex import parse_regex

_RAW = complement(((0x00, 0x1F), *only('"\\')))
_NAMED = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class JsonRules:
    """Writes the rules of one checked schema into a grammar."""

    def __init__(self, grammar: Grammar, schema: dict[str, Any]) -> None:
        self._grammar = grammar
        self._schema = schema
        self._named: dict[str, str] = {}

    def start(self) -> str:
        """Give the piece for the whole schema."""
        return self._piece({k: v for k, v in self._schema.items() if k != "$defs"})

    def _piece(self, schema: dict[str, Any]) -> str:
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if "enum" in schema:
            return self._choice([self._constant(value) for value in schema["enum"]])
        if "anyOf" in schema:
            return self._choice([self._piece(branch) for branch in schema["anyOf"]])
        if "type" not in schema:
            return self._anything()
        write: dict[str, Callable[[dict[str, Any]], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": lambda s: integers(self._grammar, s),
            "number": lambda s: numbers(self._grammar, s),
            "boolean": lambda _: '("true" | "false")',
            "null": lambda _: '"null"',
        }
        return write[schema["type"]](schema)

    def _reference(self, pointer: str) -> str:
        name = self._named.get(pointer)
        if name is None:
            key = pointer.removeprefix("#/$defs/")
            name = self._named[pointer] = self._grammar.reserve("ref")
            self._grammar.define(name, self._piece(self._schema["$defs"][key]))
        return name

    def _choice(self, pieces: list[str]) -> str:
        return pieces[0] if len(pieces) == 1 else f"({' | '.join(dict.fromkeys(pieces))})"

    def _constant(self, value: Any) -> str:
        if not value or not isinstance(value, (list, dict)):
            return self._grammar.literal(json.dumps(value, ensure_ascii=False))
        if isinstance(value, list):
            items = [self._constant(item) for item in value]
        else:
            items = [
                f"{self._key(name)} {self._space()} {self._constant(item)}"
                for name, item in value.items()
            ]
        inner = f' "," {self._space()} '.join(items)
        return self._enclosed("[" if isinstance(value, list) else "{", inner, value)

    def _key(self, name: str) -> str:
        return self._grammar.literal(json.dumps(name, ensure_ascii=False) + ":")

    def _space(self) -> str:
        return self._grammar.rule("space", '" "? | "\\n" " "{0,16}')

    def _anything(self) -> str:
        return self._recursive("value", self._value)

    def _value(self) -> str:
        any_object = self._object({"properties": {}, "additionalProperties": {}})
        text, number = self._string({}), numbers(self._grammar, {})
        return f'{any_object} | {self._array({})} | {text} | {number} | "true" | "false" | "null"'

    def _recursive(self, name: str, body: Callable[[], str]) -> str:
        known = self._grammar.shared.get(name)
        if known is None:
            known = self._grammar.shared[name] = self._grammar.reserve(name)
            self._grammar.define(known, body())
        return known

    # Objects

    def _object(self, schema: dict[str, Any]) -> str:
        members = list(schema.get("properties", {}).items())
        required = set(schema.get("required", ()))
        space = self._space()
        # Written from the last member to the first: what may follow once some member was written,
        # so that a comma comes first, and in what ways the members may begin when none was.
        after, ways = self._extras(schema["additionalProperties"], [name for name, _ in members])
        for name, value in reversed(members):
            piece = f"{self._key(name)} {space} {self._piece(value)}"
            member = self._grammar.rule("member", piece)
            begun = f"{member} {after}".strip()
            if name in required:
                after, ways = f'"," {space} {begun}', [begun]
            else:
                after, ways = f'("," {space} {member})? {after}'.strip(), [begun, *ways]
            after = self._grammar.rule("after", after)
        first = self._grammar.rule("members", " | ".join(ways)) if ways else ""
        return self._grammar.rule("object", self._enclosed("{", first, required))

    def _enclosed(self, opening: str, inner: str, least: Any) -> str:
        """Put brackets around; with nothing that must be inside, they may be empty."""
        closing = "}" if opening == "{" else "]"
        space = self._space()
        if not inner:
            return f'"{opening}{closing}"'
        inner = f"{inner} {space}" if least else f"({inner} {space})?"
        return f'"{opening}" {space} {inner} "{closing}"'

    def _extras(self, extra: Any, taken: list[str]) -> tuple[str, list[str]]:
        if extra is False:
            return "", []
        space = self._space()
        key = self._other_key(taken) if taken else self._string({})
        member = self._grammar.rule("extra", f'{key} ":" {space} {self._piece(extra)}')
        more = self._grammar.rule("more", f'"," {space} {member}')
        return f"{more}*", [f"{member} {more}*"]

    def _other_key(self, taken: list[str]) -> str:
        """Write the rule of a key that is none of these; without escapes, no key has two forms."""
        tree: dict[str, Any] = {}
        for name in taken:
            node = tree
            for character in name:
                node = node.setdefault(character, {})
            node[""] = {}
        return f'"\\"" {self._other(tree)} "\\""'

    def _other(self, tree: Mapping[str, Any]) -> str:
        raw = self._grammar.rule("key-char", self._grammar.characters(_RAW))
        known = [character for character in tree if character and _in(character, _RAW)]
        fresh = common(_RAW, complement(only("".join(known))))
        options = [f"{self._grammar.characters(fresh)} {raw}*"]
        options += [
            f"{self._grammar.characters(only(one))} {self._other(tree[one])}" for one in known
        ]
        if "" not in tree:
            options.append('""')
        return self._grammar.rule("other", " | ".join(options))

    # Arrays

    def _array(self, schema: dict[str, Any]) -> str:
        prefix = schema.get("prefixItems", [])
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        inner = ""
        if high is None or high > len(prefix):
            inner = self._items(schema.get("items", {}), len(prefix), low, high)
        for at, fixed in reversed(list(enumerate(prefix))):
            comma = f'"," {self._space()} ' if at else ""
            inner = f"{comma}{self._grammar.rule('item', self._piece(fixed))} {inner}".strip()
            if at and at >= low:
                inner = f"({inner})?"
        return self._grammar.rule("array", self._enclosed("[", inner, low))

    def _items(self, schema: dict[str, Any], before: int, low: int, high: int | None) -> str:
        """Write the items that follow those of ``prefixItems``."""
        item = self._grammar.rule("item", self._piece(schema))
        more = self._grammar.rule("next", f'"," {self._space()} {item}')
        begun = max(before, 1)
        most = None if high is None else high - begun
        others = self._grammar.repeat(more, max(low - begun, 0), most)
        return others if before else f"{item} {others}".strip()

    # Strings

    def _string(self, schema: dict[str, Any]) -> str:
        if "pattern" in schema:
            inside = self._grammar.tree(parse_regex(schema["pattern"]), self._escaped)
        else:
            low, high = schema.get("minLength", 0), schema.get("maxLength")
            inside = self._grammar.repeat(self._character(), low, high)
        return self._grammar.rule("string", f'"\\"" {inside} "\\""')

    def _character(self) -> str:
        raw = self._grammar.characters(_RAW)
        hexadecimal = self._grammar.rule("hex", "[0-9A-Fa-f]")
        # A half of a character (D800 to DFFF) only together with the other half.
        whole = f"[0-9A-CEFa-cef] {hexadecimal}{{3}} | [Dd] [0-7] {hexadecimal}{{2}}"
        pair = f'[Dd] [89ABab] {hexadecimal}{{2}} "\\\\u" [Dd] [C-Fc-f] {hexadecimal}{{2}}'
        escape = self._grammar.rule("escape", f'["\\\\/bfnrt] | "u" ({whole} | {pair})')
        return self._grammar.rule("char", f'{raw} | "\\\\" {escape}')

    def _escaped(self, ranges: Ranges) -> str:
        """Write a set of characters as a JSON string holds them."""
        options = []
        if raw := common(ranges, _RAW):
            options.append(self._grammar.characters(raw))
        # Few ways to begin: each is one more that the engine must try with every token.
        escapes = []
        if named := [mark for mark, meant in _NAMED.items() if _in(meant, ranges)]:
            escapes.append(self._grammar.characters(only("".join(named))))
        for row in (0x00, 0x10):
            codes = [code for code in range(row, row + 16) if _in(chr(code), ranges)]
            digits = [f"{code:02x}"[1] for code in codes if chr(code) not in _NAMED.values()]
            if digits:
                last = self._grammar.characters(only("".join(digits)))
                escapes.append(f'"u00{row >> 4}" {last}')
        if escapes:
            options.append(f'"\\\\" ({" | ".join(escapes)})')
        return self._grammar.rule("char", " | ".join(options))


def _in(character: str, ranges: Ranges) -> bool:
    return any(low <= ord(character) <= high for low, high in ranges)
