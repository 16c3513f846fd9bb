"""Two forms of calls at once: the one a model was told to use, and the one it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.chat.calls.form import CallForm
from blazen.chat.cursor import Cursor, Reading
from blazen.chat.sink import Sink
from blazen.types.chat import Tool

if TYPE_CHECKING:
    from blazen.schema import Grammar


@dataclass(frozen=True)
class EitherCalls:
    """Reads both; a grammar writes the first."""

    told: CallForm
    trained: CallForm

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that begin calls of either form."""
        return tuple(dict.fromkeys((*self.told.marks, *self.trained.marks)))

    @property
    def trigger(self) -> str:
        """The text that the rule begins with."""
        return self.told.trigger

    @property
    def bare(self) -> str:
        """Characters with which a call may begin an answer without any mark."""
        return self.told.bare

    def read(self, mark: str, cursor: Cursor, sink: Sink, tools: Sequence[Tool]) -> Reading[bool]:
        """Read calls behind their mark; false where it is none, and then it is text."""
        told = not mark or mark in self.told.marks
        form = self.told if told else self.trained
        return (yield from form.read(mark, cursor, sink, tools))

    def rule(self, grammar: Grammar, tools: Sequence[Tool], *, most: int) -> str:
        """Write the rule that an answer of one to ``most`` calls follows."""
        return self.told.rule(grammar, tools, most=most)
