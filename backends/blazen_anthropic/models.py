"""What each of Anthropic's models takes, as its documentation says; seen on 2026-11-21.

Places: platform.claude.com/docs, "Models overview", "Thinking", "Effort", "Migrating to API version
2026-10-21", and "What's new" and the migration guides of Claude Opus 5.5, Sonnet 5.5 and Haiku 5.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from blazen.options.anthropic import EFFORTS

UNKNOWN_MAX_TOKENS = 64_000
"""For a model that is not in the table: what the documentation advises for streamed answers."""


@dataclass(frozen=True)
class Abilities:
    """What a model takes. What is not known of a model is left to the API."""

    max_tokens: int = UNKNOWN_MAX_TOKENS
    """The longest answer."""
    thinking: Literal["adaptive", "enabled"] = "adaptive"
    """How reasoning is asked for: as the model sees fit, or with a budget of tokens."""
    off: Literal["disabled", "between_tools"] | None = "disabled"
    """How reasoning is turned off; ``None``: it can't be."""
    off_at: tuple[str, ...] = EFFORTS
    """The efforts at which it can be."""
    efforts: tuple[str, ...] = EFFORTS
    forces_tools: bool = True
    """Whether it can be made to call a tool."""
    goes_on: bool = True
    """Whether it goes on with an answer that was begun for it."""
    told_inside: bool = True
    """Whether a system's message may stand within the conversation."""
    samples: bool = True
    """Whether the API's older version takes ``temperature`` and its like."""
    refuses: bool = False
    """Whether the model is in the table, so that what it lacks is refused here."""


_NEW = Abilities(128_000, goes_on=False, samples=False, refuses=True)
_UP_TO_HIGH = EFFORTS[:3]
_ALWAYS = replace(_NEW, off=None)
_ALWAYS_FREE = replace(_ALWAYS, forces_tools=False)
_WITH_BUDGET = Abilities(64_000, "enabled", efforts=(), told_inside=False, refuses=True)
_MIDDLE = replace(_NEW, efforts=("low", "medium", "high", "max"), told_inside=False, samples=True)

_TABLE: dict[str, Abilities] = {
    "claude-fable-5-1": _ALWAYS_FREE,
    "claude-mythos-5-1": _ALWAYS_FREE,
    "claude-opus-5-5": _ALWAYS_FREE,
    "claude-sonnet-5-5": replace(_NEW, off="between_tools", off_at=_UP_TO_HIGH, forces_tools=False),
    "claude-haiku-5-5": replace(_NEW, off_at=_UP_TO_HIGH),
    "claude-fable-5": _ALWAYS,
    "claude-mythos-5": _ALWAYS,
    "claude-opus-5": replace(_NEW, off_at=_UP_TO_HIGH),
    "claude-opus-4-8": _NEW,
    "claude-opus-4-7": replace(_NEW, told_inside=False),
    "claude-sonnet-5": replace(_NEW, told_inside=False),
    "claude-opus-4-6": _MIDDLE,
    "claude-sonnet-4-6": _MIDDLE,
    "claude-opus-4-5": replace(_WITH_BUDGET, efforts=_UP_TO_HIGH),
    "claude-sonnet-4-5": _WITH_BUDGET,
    "claude-haiku-4-5": _WITH_BUDGET,
}

_DATED = re.compile(r"-(20\d{6}|latest)$")


def abilities(model: str) -> Abilities:
    """Say what a model takes; one that is not in the table takes all, as far as is known here."""
    return _TABLE.get(_DATED.sub("", model), Abilities())
