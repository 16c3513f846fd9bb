"""What comes between a chat's request and its model: skills, thinking, and the file of turns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from blazen.assistant import Thinking
from blazen.server.service import Service
from blazen.types.chat import ChatMessage, Role
from blazen.types.completion import ModelResponse


async def prepared(
    service: Service,
    id: str,  # noqa: A002 - the manager's word
    messages: Sequence[ChatMessage],
    *,
    thinking: bool | None = None,
) -> list[ChatMessage]:
    """Give the messages as the model is to see them.

    They get the model's own system prompt where they have none, the skills that fit them, and,
    where that is wanted, their last prompt rewritten by the model itself.
    """
    asked = list(messages)
    system = service.open.listing_of(id).system
    if system and not (asked and asked[0].role is Role.System):
        asked.insert(0, ChatMessage.system(system))
    if service.settings.thinking if thinking is None else thinking:
        asked = await Thinking().rewrite(partial(service.manager.complete, id), asked)
    if service.skills is not None:
        # A session of its own: the client sends the whole conversation anew each time.
        asked = await asyncio.to_thread(service.skills.session().applied, asked)
    return asked


async def remember(
    service: Service,
    route: str,
    id: str,  # noqa: A002 - the manager's word
    messages: Sequence[ChatMessage],
    answers: Sequence[ModelResponse],
) -> None:
    """Add turns to the file of turns, if there is one."""
    history = service.history
    if history is None:
        return
    for answer in answers:
        turn = partial(
            history.add,
            model=id,
            messages=[message.to_dict() for message in messages],
            answer=answer.content,
            route=route,
        )
        await asyncio.to_thread(turn)
