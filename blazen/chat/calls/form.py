"""What the code of one family's tool calls gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar

MOST_CALLS = 16
"""How many calls a grammar lets an answer hold: a small model that must call would never end."""


class CallForm(Protocol):
    """How a family of models writes calls."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that begin calls within an answer."""
        ...

    @property
    def trigger(self) -> str:
        """The text that the rule begins with; empty where a call begins as an answer may."""
        ...

    @property
    def bare(self) -> str:
        """Characters with which a call may begin an answer without any mark."""
        ...

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read calls behind their mark; false where it is none, and then it is text.

        As soon as a call is sure the cursor forgets where it began; where one of several is whole,
        it keeps that place.
        """
        ...

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        ...


def arguments_rule(grammar: Grammar, tool: Tool) -> str:
    """Write the piece that is a tool's arguments in JSON."""
    return grammar.json({"type": "object", **(tool.parameters or NO_PARAMETERS)})


NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}


def several(grammar: Grammar, rule: str, between: str, most: int) -> str:
    """Write the piece that is one to ``most`` of a rule."""
    return rule if most == 1 else f"{rule} ({grammar.literal(between)} {rule}){{0,{most - 1}}}"
