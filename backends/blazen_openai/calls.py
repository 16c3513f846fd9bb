"""Tool calls in pieces, whatever a server makes of their indices and ids."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from blazen.types.completion import ToolCallDelta

if TYPE_CHECKING:
    from blazen_openai.answer import Answer


class Calls:
    """The calls of one answer: each has an index of its own, and an id of its own."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._places: dict[int, tuple[int, str]] = {}
        """By the server's index: ours, and the id that the server gave."""

    def __bool__(self) -> bool:
        return bool(self._ids)

    def read(self, answer: Answer, pieces: Any) -> Iterator[ToolCallDelta]:
        """Read the calls, or the pieces of calls, of a message or an event."""
        for number, piece in enumerate(answer.expect(pieces, list, "tool_calls")):
            piece = answer.expect(piece, dict, "a tool call")
            function = piece.get("function") or {}
            if not function and piece.get("type", "function") != "function":
                answer.keep({"tool_calls": [piece]}, frozenset())
                continue
            function = answer.expect(function, dict, "the function of a call")
            yield self._delta(answer, piece, function, number)

    def _delta(
        self, answer: Answer, piece: dict[str, Any], function: dict[str, Any], number: int
    ) -> ToolCallDelta:
        given = answer.expect(piece.get("id") or "", str, "the id of a call")
        name = answer.expect(function.get("name") or "", str, "the name of a call")
        arguments = function.get("arguments")
        if arguments is None:
            arguments = ""
        elif isinstance(arguments, dict):  # some servers read them themselves
            arguments = json.dumps(arguments)
        index = piece.get("index")
        theirs = answer.expect(number if index is None else index, int, "the index of a call")
        place = self._places.get(theirs)
        # Another id with another name is another call, though some servers number all of them 0.
        if place is None or (given and name and given != place[1]):
            place = self._places[theirs] = len(self._ids), given
            self._ids.append(self._unique(given))
            new: str | None = self._ids[-1]
        else:
            new = None
        return ToolCallDelta(
            place[0],
            new,
            name or None,
            answer.expect(arguments, str, "the arguments of a call"),
        )

    def _unique(self, given: str) -> str:
        return f"call_{uuid.uuid4().hex[:24]}" if not given or given in self._ids else given
