"""How long models stay, as Ollama's requests say it: for as long as they are loaded."""

from __future__ import annotations

import math
import re
from typing import Any
from weakref import WeakKeyDictionary

from blazen.manager import ModelManager, State

FOR_EVER = -1.0

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_before: WeakKeyDictionary[ModelManager, dict[str, float | None]] = WeakKeyDictionary()


def read_duration(value: Any) -> float:
    """Read seconds, or a text such as ``1h30m``; what is below 0 is for ever."""
    if isinstance(value, str):
        seconds = _of_text(value.strip())
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = FOR_EVER  # hundreds of digits
    else:
        seconds = math.nan
    if math.isnan(seconds):
        raise ValueError(f"must be seconds or a text such as '5m', not {value!r:.40}")
    return FOR_EVER if seconds < 0 else seconds


def _of_text(text: str) -> float:
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if re.fullmatch(r"[0-9]{1,18}", rest):
        return float(sign * int(rest))
    parts = _PART.findall(rest[:100])
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        return math.nan
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def keep(manager: ModelManager, id: str, seconds: float | None) -> None:  # noqa: A002
    """Have a model stay for so long after each request, until it goes.

    Without a word (``None``) it stays as it was told last. Loaded anew, it stays as the
    configuration has it: one that was told to go at once does not for that go after every request.
    """
    before = _before.setdefault(manager, {})
    if seconds is None:
        if id in before and state_of(manager, id) in (State.Unloaded, State.Unloading):
            manager.adjust(id, keep_alive=before.pop(id))
        return
    held = next(model for model in manager.status().models if model.id == id)
    before.setdefault(id, held.keep_alive)
    manager.adjust(id, keep_alive=None if seconds == FOR_EVER else seconds)


def state_of(manager: ModelManager, id: str) -> State:  # noqa: A002
    """Say where a model stands."""
    return next(model.state for model in manager.status().models if model.id == id)
