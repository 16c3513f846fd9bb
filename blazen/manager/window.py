"""What a loaded model was seen to take, from its load to its first work and beyond its end."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """The measurements of one load."""

    levels: dict[str, int] = field(default_factory=dict)
    """What was in use before it."""
    took: dict[str, int] = field(default_factory=dict)
    """What it was seen to take; empty where others loaded meanwhile."""
    peak: dict[str, int] = field(default_factory=dict)
    doings: int = 0
    """How many loads and unloads had been begun when it ended."""
    is_open: bool = False
    """Whether its first work is still to be measured: many engines take much only then."""
    floor: dict[str, int] = field(default_factory=dict)
    """What the backend says it may grow to: the account does not fall below it."""
    told: bool = False
    """Whether it was said that the declared size is wrong."""


@dataclass(slots=True)
class Kept:
    """Memory that a model did not give back, and what to compare with to see it return."""

    amounts: dict[str, int]
    levels: dict[str, int]
    """What was in use when it was missed."""
    others: dict[str, int]
    """What the other models were seen to hold then."""
