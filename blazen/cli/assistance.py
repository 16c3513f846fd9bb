"""Options of commands that put something around a prompt: a rewriting, and skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from blazen.cli.gathering import gathered

if TYPE_CHECKING:
    from blazen.assistant import Skills, Thinking
    from blazen.assistant.thinking import Ask
    from blazen.types.chat import ChatMessage


@dataclass(frozen=True)
class Assistance:
    """What is done to the messages before the model gets them."""

    thinking: Thinking | None = None
    skills: Skills | None = None

    async def prepared(self, ask: Ask, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Give the messages with skills, and with the last prompt rewritten, as the user wants."""
        given = list(messages)
        if self.skills is not None:  # picked by what the user wrote, not by its rewriting
            given = self.skills.applied(given)
        if self.thinking is not None:
            given = await self.thinking.rewrite(ask, given)
        return given


def _assistance(
    thinking: bool,
    thinking_prompt: str | None,
    thinking_max_tokens: int | None,
    skills_dir: Path | None,
    max_skills: int,
    skill_max_bytes: int,
) -> Assistance:
    rewriting = skills = None
    if thinking or thinking_prompt is not None or thinking_max_tokens is not None:
        from blazen.assistant.thinking import Thinking

        length = {} if thinking_max_tokens is None else {"max_tokens": thinking_max_tokens}
        rewriting = Thinking(prompt=thinking_prompt, **length)
    if skills_dir is not None:
        from blazen.assistant.skills import Skills

        skills = Skills.read(skills_dir, most=max_skills, max_bytes=skill_max_bytes)
    return Assistance(rewriting, skills)


assistance_options = gathered(
    "assistance",
    (
        (
            ("--thinking",),
            {"is_flag": True, "help": "Have the model put the prompt more clearly first."},
        ),
        (
            ("--thinking-prompt",),
            {"metavar": "TEXT", "help": "How to put it, in place of our words."},
        ),
        (
            ("--thinking-max-tokens",),
            {"type": int, "metavar": "N", "help": "How long that may get (256)."},
        ),
        (
            ("--skills-dir",),
            {
                "type": click.Path(exists=True, file_okay=False, path_type=Path),
                "metavar": "DIR",
                "help": "Bring in those SKILL.md files of a folder that fit the prompt.",
            },
        ),
        (
            ("--max-skills",),
            {"type": int, "default": 3, "metavar": "N", "help": "How many for a prompt (3)."},
        ),
        (
            ("--skill-max-bytes",),
            {"type": int, "default": 16384, "metavar": "N", "help": "How much of each (16384)."},
        ),
    ),
    _assistance,
)
"""The command gets ``assistance``, an `Assistance`."""
