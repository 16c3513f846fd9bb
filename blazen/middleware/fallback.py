"""A request that goes to another model where the first can't answer it."""

from __future__ import annotations

import logging
from typing import Any

from blazen.errors import (
    BackendCrashedError,
    BudgetError,
    ContextLengthError,
    DownloadError,
    InferenceError,
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderError,
    TimeoutError,  # noqa: A004 - the name that users expect
    UnsupportedError,
    ValidationError,
)
from blazen.middleware.sources import Pieces, Replaceable
from blazen.middleware.together import Together
from blazen.middleware.wrapping import Connections, Inner, M, Middleware, Way, with_lifecycle
from blazen.protocols.model import Model
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, ModelResponse
from blazen.types.route import Route, joined_route, with_route

MOVES_ON: tuple[type[Exception], ...] = (
    BackendCrashedError,
    BudgetError,
    ConnectionError,
    ContextLengthError,
    DownloadError,
    InferenceError,
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderError,
    TimeoutError,
    UnsupportedError,
)
"""The errors after which the next model is asked: this one can't, and another may."""

log = logging.getLogger("blazen")


def with_fallback(first: M, *others: Model, on: tuple[type[Exception], ...] = MOVES_ON) -> M:
    """Give a model that asks these in turn, until one begins to answer.

    The answer's ``route`` says which one did, and why each before it did not. Once a first piece
    has come there is no going on to the next. Where none can, the error of the last is raised, with
    those before it as its cause and notes.

    Args:
        first: The model to ask.
        others: The models to ask instead, in order.
        on: The errors after which the next is asked. A `ValidationError` is never one of them: it
            would be the same everywhere.
    """
    inners = [Inner.of(model) for model in (first, *others)]
    if len(inners) < 2:
        raise ValidationError("with_fallback takes two models at the least: the first and another")
    if not isinstance(on, tuple) or not all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in on
    ):
        raise ValidationError(f"on takes a tuple of errors' classes, not {on!r:.80}")
    is_local = any(inner.is_local for inner in inners)
    cls: Any = with_lifecycle(FallbackModel, Together if is_local else Connections)
    model: M = cls(inners, on)
    return model


class FallbackModel(Middleware):
    """A chat model that asks several in turn."""

    def __init__(self, inners: list[Inner], on: tuple[type[Exception], ...]) -> None:
        self._inners = inners
        self._on = on
        self._names = _names([inner.title for inner in inners])
        self.title = " or ".join(self._names)

    @property
    def models(self) -> tuple[Any, ...]:
        """The models, in the order in which they are asked."""
        return tuple(inner.model for inner in self._inners)

    async def aclose(self) -> None:
        """Close those of the models that have something to close."""
        for inner in self._inners:
            if hasattr(inner.model, "aclose"):
                await inner.model.aclose()

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        turn = _Turn(self)
        while True:
            inner = turn.inner
            try:
                answer = await inner.complete(messages, options)
            except Exception as error:  # noqa: BLE001 - what is not for the next is raised there
                turn.go_on(error)
            else:
                route = joined_route(turn.route, getattr(answer, "route", None))
                assert route is not None
                return with_route(answer, route)

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        turn = _Turn(self)

        async def attempt() -> Pieces:
            while True:
                try:
                    source = await turn.inner.open(messages, options, way)
                    break
                except Exception as error:  # noqa: BLE001 - as above
                    problem = error
                turn.go_on(problem)
            way.own = turn.route
            return source

        async def again(error: Exception) -> Pieces:
            turn.go_on(error)
            return await attempt()

        return Replaceable(await attempt(), again)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(repr(inner.model) for inner in self._inners)})"


class _Turn:
    """Whose turn it is, for one request."""

    def __init__(self, model: FallbackModel) -> None:
        self._model = model
        self._place = 0
        self._reasons: tuple[str, ...] = ()
        self._errors: list[Exception] = []

    @property
    def inner(self) -> Inner:
        return self._model._inners[self._place]

    @property
    def route(self) -> Route:
        names = self._model._names
        return Route(names[0], names[self._place], self._reasons)

    def go_on(self, error: Exception) -> None:
        """Pass the turn on, or raise the error where it must not be or nobody is left."""
        names = self._model._names
        is_last = self._place == len(names) - 1
        if isinstance(error, ValidationError) or not isinstance(error, self._model._on) or is_last:
            self._tell_of_others(error)
            raise error
        self._errors.append(error)
        self._reasons += (f"{type(error).__name__}: {error}",)
        # No message: it may quote what the model was asked.
        log.warning(
            "%s: %s, so %s is asked",
            names[self._place], type(error).__name__, names[self._place + 1],
        )  # fmt: skip
        self._place += 1

    def _tell_of_others(self, error: Exception) -> None:
        """Have the error that is raised tell of those before it, the latest of them first."""
        told: list[str] = getattr(error, "__notes__", [])
        tried = zip(self._model._names, self._reasons, strict=False)
        said = [f"before it, {name} failed: {why}" for name, why in tried]
        # Not with add_note, which Python 3.10 lacks. One error may be raised again and again.
        notes = [*told, *(note for note in said if note not in told)]
        if notes:
            vars(error)["__notes__"] = notes
        for other in reversed(self._errors):
            _chain(error, other)


def _chain(error: BaseException, other: BaseException) -> None:
    """Put another error at the end of the causes of one, unless they share some."""
    causes, others = _causes(error), _causes(other)
    if not any(one is another for one in causes for another in others):
        causes[-1].__cause__ = other


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def _names(titles: list[str]) -> list[str]:
    """Tell apart models of the same name."""
    return [
        title if titles.count(title) == 1 else f"{title} ({titles[:place].count(title) + 1})"
        for place, title in enumerate(titles)
    ]
