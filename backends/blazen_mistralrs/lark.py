"""From GBNF, in which blazen writes grammars, to the Lark notation that mistral.rs reads."""

from __future__ import annotations

import json
import re

from blazen.errors import UnsupportedError, ValidationError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
    |(?P<name>[A-Za-z][A-Za-z0-9_-]*)
    |(?P<defines>::=)
    |(?P<literal>"(?:\\.|[^"\\])*")
    |(?P<set>\[(?:\\.|[^\]\\])*\])
    |(?P<count>\{[ \t]*\d+[ \t]*(?:,[ \t]*\d*[ \t]*)?\})
    |(?P<mark>[()|*+?.])
    |(?P<token>!?<[^>\n]*>)
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\(.)|(.)", re.S)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def write_lark(gbnf: str) -> str:
    """Write a grammar anew; what the other notation has no word for is refused by name.

    Each character of a literal becomes a literal of its own. The engine's lexer takes the longest
    text that it knows, so that a literal which begins like another rule would hide that rule.
    """
    words = _read(gbnf)
    names: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    body: list[str] = []
    for place, (kind, text) in enumerate(words):
        if kind == "name" and words[place + 1 : place + 2] == [("defines", "::=")]:
            if text in rules:
                raise ValidationError(f"the grammar has two rules called {text!r}")
            body = rules[text] = []
        elif kind == "defines":
            if place == 0 or words[place - 1][0] != "name":
                raise ValidationError("the grammar has a '::=' without the name of a rule")
        elif not rules:
            raise ValidationError(f"the grammar begins with {text!r:.40}, not with a rule")
        elif kind == "name":
            body.append(names.setdefault(text, f"r{len(names)}"))
        else:
            body.append(_written(kind, text))
    if "root" not in rules:
        raise ValidationError("the grammar has no rule 'root', where it would begin")
    unknown = sorted(set(names) - set(rules))
    if unknown:
        raise ValidationError(f"the grammar uses a rule {unknown[0]!r} that it does not have")
    root = names.setdefault("root", f"r{len(names)}")
    lines = [f"start: {root}"]
    for name, parts in rules.items():
        if name in names:  # one that nothing refers to is no part of the language
            lines.append(f"{names[name]}: " + (" ".join(parts) or '""'))
    return "\n".join(lines) + "\n"


def _read(gbnf: str) -> list[tuple[str, str]]:
    words = []
    at = 0
    while at < len(gbnf):
        found = _TOKEN.match(gbnf, at)
        if found is None:
            line = gbnf.count("\n", 0, at) + 1
            raise ValidationError(f"line {line} of the grammar can't be read: {gbnf[at:]!r:.40}")
        kind = str(found.lastgroup)
        if kind == "token":
            raise UnsupportedError(
                f"the grammar names the token {found[0]!r:.40}, and mistral.rs takes grammars of "
                "characters only"
            )
        if kind != "space":
            words.append((kind, found[0]))
        at = found.end()
    return words


def _written(kind: str, text: str) -> str:
    if kind == "literal":
        characters = _characters(text[1:-1])
        if not characters:
            return '""'
        written = " ".join(json.dumps(character) for character, _ in characters)
        return written if len(characters) == 1 else f"({written})"
    if kind == "set":
        return f"/{_set(text[1:-1])}/"
    if kind == "count":
        return re.sub(r"\s", "", text)
    return r"/(?s:.)/" if text == "." else text


def _set(inside: str) -> str:
    characters = _characters(inside)
    start = 1 if characters[:1] == [("^", False)] else 0
    if len(characters) == start:
        raise ValidationError("the grammar has a set '[]' without characters")
    parts = ["^"] if start else []
    for place in range(start, len(characters)):
        character, escaped = characters[place]
        between = start < place < len(characters) - 1 and character == "-" and not escaped
        parts.append("-" if between else f"\\x{{{ord(character):X}}}")
    return f"[{''.join(parts)}]"


def _characters(text: str) -> list[tuple[str, bool]]:
    """Undo the escapes; each character comes with whether it was escaped."""
    characters = []
    for found in _ESCAPE.finditer(text):
        code = found[1] or found[2] or found[3]
        if code:
            characters.append((chr(int(code, 16)), True))
        elif found[4]:
            characters.append((_NAMED.get(found[4], found[4]), True))
        else:
            characters.append((found[5], False))
    return characters
