"""A file to which each turn of a chat is added: one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from blazen.errors import ValidationError
from blazen.types.chat import ChatMessage
from blazen.types.completion import ModelResponse


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a file that no turn can be added to, before there is one."""
    place = Path(path)
    # Not by opening it: a turn may never come, and then there is no file.
    if not os.access(place if place.exists() else place.absolute().parent, os.W_OK):
        raise ValidationError(f"no turns can be written to {str(place)!r}: is its folder there?")


def append_turn(
    path: str | os.PathLike[str],
    messages: Sequence[ChatMessage],
    answer: ModelResponse,
    *,
    model: str,
) -> None:
    """Add what was asked and what was answered; the file is made, for its owner alone."""
    turn: dict[str, Any] = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "model": model,
        "messages": [message.to_dict() for message in messages],
        "answer": answer.content,
        "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
        "usage": answer.usage.to_dict() if answer.usage else None,
    }
    # One write of a whole line: those of other programs do not get in between.
    line = json.dumps(turn, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)
