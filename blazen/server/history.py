"""A file that gathers the turns of chats."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blazen.errors import ValidationError


class History:
    """Adds each turn to a file, as one line of JSON; only its owner may read the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            os.close(self._open())
        except OSError as error:
            raise ValidationError(
                f"turns can't be added to {str(self.path)!r}: {error.strerror or error}"
            ) from error

    def add(
        self, *, model: str, messages: Sequence[Mapping[str, Any]], answer: str, route: str
    ) -> None:
        """Add one turn: what was said, and what the model answered."""
        turn = {
            "time": time.time(),
            "route": route,
            "model": model,
            "messages": list(messages),
            "answer": answer,
        }
        line = json.dumps(turn, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
        with self._lock:
            file = self._open()
            try:
                os.write(file, line)
            finally:
                os.close(file)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
