"""What is sent to a worker process beside plain arguments."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

from blazen.types.live import LiveAudio

WINDOW = 512
"""How many pieces of an answer may be on their way before this side has asked for more of them."""


@dataclass(frozen=True)
class Begin:
    """Build a model."""

    path: str
    """The class, as ``module:name``."""
    options: Any
    levels: dict[str, int]
    watched: bool
    """Whether anyone hears how far its loading is: some engines tell hundreds of times."""
    tells: bool
    """Whether to tell what it has imported, for a spare to do so ahead."""


def levels_here() -> dict[str, int]:
    """Give the levels of this process's loggers, by name."""
    found = logging.root.manager.loggerDict.items()
    levels = {name: one.level for name, one in found if isinstance(one, logging.Logger)}
    return {**{name: level for name, level in levels.items() if level}, "": logging.root.level}


@dataclass(frozen=True)
class Live:
    """An argument that is, or holds, sound that is still being made: that is sent as it comes."""

    holder: Any
    """The record that it stands in; ``None``: it is the argument itself."""
    field: str
    sample_rate: int

    @classmethod
    def of(cls, value: Any, sample_rate: int = 16_000) -> tuple[Live, LiveAudio] | None:
        """Take live sound out of an argument, where there is some."""
        if isinstance(value, LiveAudio):
            return cls(None, "", sample_rate), value
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return None
        for field in dataclasses.fields(value):
            held = getattr(value, field.name)
            if isinstance(held, LiveAudio):
                empty = _with(value, field.name, None)
                return cls(empty, field.name, sample_rate), held
        return None

    def with_sound(self, sound: LiveAudio) -> Any:
        """Give the argument as it was, with a sound in its place."""
        return sound if self.holder is None else _with(self.holder, self.field, sound)


def _with(record: Any, field: str, value: Any) -> Any:
    """Copy a record with another value in one field; the record's own checks are for its maker."""
    copy = object.__new__(type(record))
    for one in dataclasses.fields(record):
        object.__setattr__(copy, one.name, getattr(record, one.name))
    object.__setattr__(copy, field, value)
    return copy
