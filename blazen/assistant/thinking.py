"""Have a model put a prompt more clearly before it answers: any model can, none needs training."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from blazen.checks import check_range, check_texts
from blazen.types.chat import ChatMessage, Part, Role
from blazen.types.completion import CompletionOptions, FinishReason, ModelResponse
from blazen.types.record import Settings

Ask: TypeAlias = Callable[[list[ChatMessage], CompletionOptions], Awaitable[ModelResponse]]

META_PROMPT = """\
Rewrite the request below so that it can be answered well. Do not answer it.
Say plainly what is wanted, with every fact, name, number and condition that it gives, in its own \
language. Put in what "it" and "that" mean, from the conversation. Add no wishes of your own; what \
is clear already stays short. Give nothing but the rewritten request."""

_EARLIER = 6
_EARLIER_LENGTH = 600


@dataclass(frozen=True, kw_only=True)
class Thinking(Settings):
    """Rewrite each prompt first, then answer the rewritten one."""

    prompt: str | None = None
    """How to rewrite, in place of our own words."""
    max_tokens: int = 256
    """How long a rewritten prompt may get; one that is cut there is not used."""

    def __post_init__(self) -> None:
        check_texts(prompt=self.prompt)
        check_range("max_tokens of thinking", self.max_tokens, at_least=1, integer=True)

    async def rewrite(self, ask: Ask, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Give the messages with the user's last prompt rewritten by the model behind ``ask``.

        Its images and audio stay. Where nothing usable comes back, the prompt stays as it was.
        """
        given = list(messages)
        place = _last_prompt(given)
        if place is None:
            return given
        request = ChatMessage.user(self._request(given[:place], given[place]))
        answer = await ask([request], CompletionOptions(max_tokens=self.max_tokens))
        text = answer.content.strip()
        if text and answer.finish_reason is not FinishReason.Length:
            given[place] = _with_text(given[place], text)
        return given

    def _request(self, earlier: Sequence[ChatMessage], prompt: ChatMessage) -> str:
        said = [
            f"{message.role.value}: {message.text.strip()[:_EARLIER_LENGTH]}"
            for message in earlier
            if message.role in (Role.User, Role.Assistant) and message.text.strip()
        ]
        pieces = [(self.prompt or META_PROMPT).strip()]
        if said:
            pieces.append("The conversation so far:\n" + "\n".join(said[-_EARLIER:]))
        attached = len([part for part in prompt.parts if not isinstance(part, str)])
        note = f" (with {attached} image or audio attached)" if attached else ""
        pieces.append(f"The request{note}:\n{prompt.text.strip()}")
        return "\n\n".join(pieces)


def _last_prompt(messages: Sequence[ChatMessage]) -> int | None:
    """Find the prompt that is to be answered: a tool's answer is none."""
    last = len(messages) - 1
    asked = bool(messages) and messages[last].role is Role.User and messages[last].text.strip()
    return last if asked else None


def _with_text(message: ChatMessage, text: str) -> ChatMessage:
    if isinstance(message.content, str):
        return dataclasses.replace(message, content=text)
    attached: list[Part] = [part for part in message.content if not isinstance(part, str)]
    return dataclasses.replace(message, content=[*attached, text])
