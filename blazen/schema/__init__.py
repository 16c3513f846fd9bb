"""Structured output without an engine: schemas of types, grammars of schemas, checks of answers."""

from __future__ import annotations

from blazen.schema.gbnf import Grammar, check_grammar
from blazen.schema.keywords import check_schema
from blazen.schema.python_types import schema_of
from blazen.schema.reading import grammar_of, read_value
from blazen.schema.regex import full_match, plain_regex
from blazen.schema.signature import read_arguments, tool_schema

__all__ = [
    "Grammar",
    "check_grammar",
    "check_schema",
    "full_match",
    "grammar_of",
    "plain_regex",
    "read_arguments",
    "read_value",
    "schema_of",
    "tool_schema",
]
