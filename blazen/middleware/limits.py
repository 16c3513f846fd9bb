"""Requests that wait until a provider's limits, or one's own, leave room for them."""

from __future__ import annotations

import json
from typing import Any

from blazen.errors import ValidationError
from blazen.middleware.places import Limits, Place
from blazen.middleware.sources import Pieces, Watched, Watcher
from blazen.middleware.wrapping import M, Way, WrappedModel, around
from blazen.types.chat import Messages, Prompt, as_messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceUsage,
    ModelResponse,
)

PART_TOKENS = 1000
"""What an image or a sound is taken for before it is known."""
ANSWER_TOKENS = 500
"""What an answer without ``max_tokens`` is taken for before it is known."""


def with_limits(
    model: M,
    limits: Limits | None = None,
    *,
    concurrent: int | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
) -> M:
    """Give the model with requests that wait for their turn.

    Who gives up waiting gives up the place; a stream has its own until it ends or is left.

    Args:
        model: Any chat model.
        limits: What several models share, such as those of one account.
        concurrent: How many requests may be answered at once.
        requests_per_minute: How many may begin in any sixty seconds.
        tokens_per_minute: How many tokens these may take, prompts and answers together.
    """
    own = (concurrent, requests_per_minute, tokens_per_minute)
    if limits is None:
        limits = Limits(
            concurrent=concurrent,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
    elif not isinstance(limits, Limits) or any(value is not None for value in own):
        raise ValidationError(
            f"with_limits takes a Limits, or numbers by their names, not both: {limits!r:.80}"
        )
    return around(LimitedModel, model, limits)


class LimitedModel(WrappedModel):
    """A chat model whose requests wait for their turn."""

    def __init__(self, model: Any, limits: Limits) -> None:
        super().__init__(model)
        self.limits = limits

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        asked = self._estimate(messages, options)
        place = await self.limits.enter(asked + _room(options))
        spent = asked
        try:
            answer = await self._inner.complete(messages, options)
            usage = answer.usage
            spent = usage.total_tokens if usage else asked + len(answer.content) // 4
        finally:
            place.leave(spent)
        return answer

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        asked = self._estimate(messages, options)
        place = await self.limits.enter(asked + _room(options))
        try:
            source = await self._inner.open(messages, options, way)
        except BaseException:
            place.leave(asked)
            raise
        return Watched(source, _Spending(place, asked))

    def _estimate(self, messages: Messages, options: CompletionOptions) -> int:
        return 0 if self.limits.tokens_per_minute is None else estimated(messages, options)


class _Spending(Watcher):
    """Counts what a stream takes, and gives its place back at its end."""

    def __init__(self, place: Place, asked: int) -> None:
        self._place = place
        self._spent = asked
        self._usage: InferenceUsage | None = None
        self._gone = False

    def piece(self, piece: InferenceChunk) -> None:
        self._spent += 1  # most pieces are a token
        if piece.usage is not None:
            self._usage = piece.usage

    def ended(self, error: BaseException | None) -> None:
        self.left()

    def left(self) -> None:
        if not self._gone:
            self._gone = True
            self._place.leave(self._usage.total_tokens if self._usage else self._spent)


def estimated(messages: Messages, options: CompletionOptions) -> int:
    """Say about how many tokens a prompt has: four bytes of text make one in most languages."""
    if isinstance(messages, Prompt):
        text = messages.text
        return len(text) if isinstance(text, list) else _tokens(text)
    count = sum(_tokens(json.dumps(tool.parameters)) + _tokens(tool.description)
                for tool in options.tools)  # fmt: skip
    for message in as_messages(messages):
        count += 4  # a template's own marks
        for part in message.parts:
            count += _tokens(part) if isinstance(part, str) else PART_TOKENS
        count += sum(_tokens(call.arguments) for call in message.tool_calls)
    return count


def _tokens(text: str) -> int:
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


def _room(options: CompletionOptions) -> int:
    return ANSWER_TOKENS if options.max_tokens is None else options.max_tokens
