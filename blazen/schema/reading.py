"""The two ends of a structured answer: the grammar that it is held to, and the value that it is."""

from __future__ import annotations

from typing import Any

from blazen.schema.building import build
from blazen.schema.gbnf import Grammar, check_grammar
from blazen.schema.value import check_value
from blazen.types.response_format import ResponseFormat


def grammar_of(wanted: ResponseFormat) -> str:
    """Give the GBNF grammar, with the rule ``root``, of the shape that an answer must have."""
    if wanted.kind == "grammar":
        return check_grammar(str(wanted.rule))
    grammar = Grammar()
    if wanted.kind == "regex":
        grammar.root(grammar.regex(str(wanted.rule)))
    else:
        schema = {"type": "object"} if wanted.kind == "json" else wanted.rule
        grammar.root(grammar.json(schema))
    return str(grammar)


def read_value(value: Any, schema: Any, tp: Any = None) -> Any:
    """Give a JSON value as its type, once it fits the schema; without a type, as it is."""
    check_value(value, schema)
    return value if tp is None else build(tp, value)
