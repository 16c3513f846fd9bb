"""Functions that hear of each request, and a log of them."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blazen.errors import BlazenError, ValidationError
from blazen.middleware.sources import Pieces, Watched, Watcher
from blazen.middleware.wrapping import Joined, M, Way, WrappedModel, around
from blazen.types.chat import Messages, Prompt, as_messages
from blazen.types.completion import CompletionOptions, InferenceChunk, ModelResponse

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Call:
    """A request, as hooks see it."""

    model: str
    """What the model is called."""
    messages: Messages = field(repr=False)
    options: CompletionOptions = field(repr=False)
    streamed: bool
    """Whether it is answered piece by piece."""
    number: int = field(default_factory=lambda: next(_numbers))
    """Tells it from the other requests of this process."""
    started: float = field(default_factory=time.monotonic, repr=False)

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return time.monotonic() - self.started


OnRequest = Callable[[Call], object]
OnChunk = Callable[[Call, InferenceChunk], object]
OnResponse = Callable[[Call, ModelResponse], object]
OnError = Callable[[Call, BaseException], object]


def with_hooks(
    model: M,
    *,
    on_request: OnRequest | None = None,
    on_chunk: OnChunk | None = None,
    on_response: OnResponse | None = None,
    on_error: OnError | None = None,
    log: logging.Logger | bool | None = None,
    content: bool = False,
) -> M:
    """Give the model with plain functions that hear of its requests, or with a log of them.

    After ``on_request``, exactly one of ``on_response`` and ``on_error`` is called. They run on the
    event loop, so they should be quick. What one of them raises ends the request and reaches its
    caller: so ``on_request`` may refuse one.

    Args:
        model: Any chat model.
        on_request: Called with a `Call` before the model is asked.
        on_chunk: Called with the `Call` and each piece of a stream.
        on_response: Called with the `Call` and the answer; what came of it, if it was left early.
        on_error: Called with the `Call` and what ended it: an error, or that it was cancelled.
        log: A logger, or ``True`` for ``blazen.requests``: one line for each request, at INFO, or
            WARNING where it failed. With no function given, that is the default.
        content: Whether the log also tells messages, answers and the texts of errors.
    """
    called = {
        "on_request": on_request,
        "on_chunk": on_chunk,
        "on_response": on_response,
        "on_error": on_error,
    }
    for name, function in called.items():
        if inspect.iscoroutinefunction(function):
            raise ValidationError(f"{name} must be a plain function, not one that is awaited")
        if function is not None and not callable(function):
            raise ValidationError(f"{name} must be a function, not {function!r:.80}")
    if log is None:
        log = not any(called.values())
    hooks = [_Hooks(on_request, on_chunk, on_response, on_error)]
    if log:
        logger = log if isinstance(log, logging.Logger) else logging.getLogger("blazen.requests")
        lines = _Lines(logger, content)
        hooks.append(_Hooks(lines.request, None, lines.response, lines.error))
    return around(HookedModel, model, hooks)


@dataclass(frozen=True)
class _Hooks:
    request: OnRequest | None
    chunk: OnChunk | None
    response: OnResponse | None
    error: OnError | None


class HookedModel(WrappedModel):
    """A chat model whose requests are told of."""

    def __init__(self, model: Any, hooks: list[_Hooks]) -> None:
        super().__init__(model)
        self._hooks = hooks

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        call = self._called(messages, options, streamed=False)
        try:
            answer = await self._inner.complete(messages, options)
        except BaseException as error:
            self._failed(call, error)
            raise
        self._answered(call, answer)
        return answer

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        call = self._called(messages, options, streamed=True)
        try:
            source = await self._inner.open(messages, options, way)
        except BaseException as error:
            self._failed(call, error)
            raise
        return Watched(source, _Telling(self, call, way))

    def _called(self, messages: Messages, options: CompletionOptions, *, streamed: bool) -> Call:
        call = Call(self.title, messages, options, streamed)
        for hooks in self._hooks:
            if hooks.request is not None:
                hooks.request(call)
        return call

    def _answered(self, call: Call, answer: ModelResponse) -> None:
        for hooks in self._hooks:
            if hooks.response is not None:
                hooks.response(call, answer)

    def _failed(self, call: Call, error: BaseException) -> None:
        for hooks in self._hooks:
            if hooks.error is not None:
                hooks.error(call, error)


class _Telling(Watcher):
    """Tells hooks of a stream."""

    def __init__(self, model: HookedModel, call: Call, way: Way) -> None:
        self._model = model
        self._call = call
        self._way = way
        self._pieces: list[InferenceChunk] = []
        self._chunks = [hooks.chunk for hooks in model._hooks if hooks.chunk is not None]

    def piece(self, piece: InferenceChunk) -> None:
        self._pieces.append(piece)
        for chunk in self._chunks:
            chunk(self._call, piece)

    def ended(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, GeneratorExit):
            self._model._failed(self._call, error)
            return
        try:
            answer = Joined.answer(
                self._pieces,
                self._call.options.response_format,
                route=self._way.route,
                whole=error is None,
            )
        except BlazenError as problem:  # it is not of its shape, as its reader will hear
            self._model._failed(self._call, problem)
        else:
            self._model._answered(self._call, answer)


class _Lines:
    """Writes a line of each request's end."""

    def __init__(self, logger: logging.Logger, content: bool) -> None:
        self._log = logger
        self._content = content

    def request(self, call: Call) -> None:
        if self._content:
            self._log.info("%s [%d] asked: %s", call.model, call.number, _shown(call.messages))

    def response(self, call: Call, answer: ModelResponse) -> None:
        facts = [answer.finish_reason.value] if answer.finish_reason else []
        if answer.usage is not None:
            facts.append(f"{answer.usage.prompt_tokens} + {answer.usage.completion_tokens} tokens")
        if answer.route is not None and answer.route.answered != answer.route.asked:
            facts.append(f"by {answer.route.answered}")
        self._log.info(
            "%s [%d] answered in %.3f s (%s)",
            call.model, call.number, call.seconds, ", ".join(facts),
        )  # fmt: skip
        if self._content:
            self._log.info("%s [%d] said: %r", call.model, call.number, answer.content)

    def error(self, call: Call, error: BaseException) -> None:
        stopped = isinstance(error, asyncio.CancelledError)
        # No message: it may quote what the model was asked.
        what = f"{type(error).__name__}: {error}" if self._content else type(error).__name__
        self._log.log(
            logging.INFO if stopped else logging.WARNING,
            "%s [%d] %s after %.3f s%s",
            call.model, call.number, "was cancelled" if stopped else "failed", call.seconds,
            "" if stopped else f": {what}",
        )  # fmt: skip


def _shown(messages: Messages) -> str:
    if isinstance(messages, Prompt):
        return repr(messages.text)
    return "; ".join(
        f"{message.role.value}: {''.join(map(_part, message.parts))!r}"
        for message in as_messages(messages)
    )


def _part(part: Any) -> str:
    return part if isinstance(part, str) else f"<{type(part).__name__.lower()}>"
