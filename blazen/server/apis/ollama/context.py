"""The conversation so far, as numbers that a client hands back with its next prompt.

Ollama's are token ids. Here they hold the text of the messages, since not every engine can be asked
for its tokens; clients take them as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from blazen.server.refusals import RefusedError

_MARK = 0x626C7A
"""What the numbers begin with: ``blz``."""
_WIDTH = 3
_ROLES = ("system", "user", "assistant")


def packed(turns: Sequence[tuple[str, str]]) -> list[int]:
    """Write roles and texts as numbers."""
    data = json.dumps(turns, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    padded = data + bytes(-len(data) % _WIDTH)
    numbers = [
        int.from_bytes(padded[at : at + _WIDTH], "big") for at in range(0, len(padded), _WIDTH)
    ]
    return [_MARK, len(data), *numbers]


def unpacked(numbers: Sequence[int]) -> list[tuple[str, str]]:
    """Read them back; what is not from here is refused."""
    try:
        if numbers[0] != _MARK:
            raise ValueError("it has another beginning")
        data = b"".join(number.to_bytes(_WIDTH, "big") for number in numbers[2:])
        turns: Any = json.loads(data[: numbers[1]])
        return [_turn(turn) for turn in turns]
    except (ValueError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise RefusedError(
            "this context is not from this server: send the one of its last answer, or the "
            "conversation as messages to /api/chat",
            param="context",
        ) from error


def _turn(turn: Any) -> tuple[str, str]:
    role, text = turn
    if role not in _ROLES or not isinstance(text, str):
        raise ValueError("a turn is a role and a text")
    return role, text
