"""A chat model around other chat models: what all of the middleware has in common."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from blazen.errors import OutputError, ValidationError
from blazen.manager.abilities import abilities
from blazen.protocols.model import HostedModel, LocalModel, Model
from blazen.types.chat import Messages, Prompt, as_messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
    ToolCallDelta,
)
from blazen.types.route import Route, joined_route
from blazen.types.stream import Source, source_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from blazen.types.response_format import ResponseFormat

C = TypeVar("C")
M = TypeVar("M", LocalModel, HostedModel, Model)
"""A model of one of these kinds stays one when something is put around it."""

Options = CompletionOptions | Mapping[str, Any] | None


class Way:
    """By which way a stream's answer comes, which may change until its first piece is there."""

    __slots__ = ("inner", "own")

    def __init__(self) -> None:
        self.own: Route | None = None
        """What the wrapper itself has decided."""
        self.inner: Any = None
        """The stream that the wrapper reads."""

    @property
    def route(self) -> Route | None:
        """The wrapper's own decision and those of what it is around, together."""
        return joined_route(self.own, getattr(self.inner, "route", None))


class WrappedStream(InferenceChunkStream):
    """An answer in pieces that come by way of middleware."""

    def __init__(
        self,
        start: Callable[[], Awaitable[Source[InferenceChunk]]],
        response_format: ResponseFormat | None,
        way: Way,
    ) -> None:
        super().__init__(start, response_format)
        self._way = way

    @property
    def route(self) -> Route | None:
        """Which model answers, where there was a choice."""
        return self._way.route

    @route.setter
    def route(self, route: Route | None) -> None:
        self._way.own = route


class Joined(InferenceChunkStream):
    """Makes the answer of pieces that were read elsewhere."""

    @classmethod
    def answer(
        cls,
        pieces: Iterable[InferenceChunk],
        response_format: ResponseFormat | None = None,
        *,
        route: Route | None = None,
        whole: bool = True,
    ) -> ModelResponse:
        """Give what a stream of these pieces has as its `response`."""
        stream = cls(_nothing, response_format)
        for piece in pieces:
            stream._add(piece)
        stream._finish(whole=whole)
        stream.route = route
        return stream.response


async def _nothing() -> Source[InferenceChunk]:
    raise AssertionError("its pieces are given to it")


_SHARED = {field.name for field in dataclasses.fields(ModelResponse)} & {
    field.name for field in dataclasses.fields(InferenceChunk)
} - {"tool_calls"}


def in_one_piece(answer: ModelResponse) -> InferenceChunk:
    """Give a piece that alone makes the same answer."""
    calls = tuple(
        ToolCallDelta(place, call.id, call.name, call.arguments)
        for place, call in enumerate(answer.tool_calls)
    )
    return InferenceChunk(tool_calls=calls, **{name: getattr(answer, name) for name in _SHARED})


def parses(pieces: Iterable[InferenceChunk], options: CompletionOptions) -> bool:
    """Tell whether an answer is of the shape that was asked for."""
    if options.response_format is None:
        return True
    try:
        Joined.answer(pieces, options.response_format)
    except OutputError:
        return False
    return True


@dataclass(frozen=True)
class Inner:
    """A model that middleware is around, whatever its descent."""

    model: Any
    title: str
    complete: Callable[..., Awaitable[ModelResponse]]
    stream: Callable[..., Any]
    is_local: bool

    @classmethod
    def of(cls, model: Any) -> Inner:
        """Take a model that answers messages."""
        can, is_local = abilities(model)
        if "complete" not in can:
            raise ValidationError(f"{model!r:.80} is no chat model: it has no complete()")
        return cls(model, title_of(model), can["complete"], can["complete_stream"], is_local)

    async def open(
        self, messages: Messages, options: CompletionOptions, way: Way
    ) -> Source[InferenceChunk]:
        """Begin a stream, and give where its pieces come from."""
        pieces = self.stream(messages, options)
        source = await source_of(pieces)
        way.inner = pieces
        return source


def title_of(model: Any) -> str:
    """Name a model for people, as its options do."""
    if isinstance(model, Middleware):
        return model.title
    options = getattr(model, "options", None)
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        fields = dataclasses.fields(options)
        named = getattr(options, fields[0].name) if fields else None
        if named is not None:
            return str(named)
    # A hosted one says which model it is also where its options leave that to its provider.
    usual = getattr(model, "model", None)
    return usual if isinstance(usual, str) and usual else type(model).__name__


class Middleware(Model):
    """A chat model that answers by way of others."""

    title: str
    """What messages, logs and routes call it."""

    def complete_stream(self, messages: Messages, options: Options = None) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        # Taken now: the caller may add to the list before the stream is read.
        given, chosen, way = _taken(messages), CompletionOptions.of(options), Way()

        async def start() -> Source[InferenceChunk]:
            return await self._begin(given, chosen, way)

        return WrappedStream(start, chosen.response_format, way)

    async def complete(self, messages: Messages, options: Options = None) -> ModelResponse:
        """Answer in one piece."""
        return await self._answer(_taken(messages), CompletionOptions.of(options))

    async def _begin(
        self, messages: Messages, options: CompletionOptions, way: Way
    ) -> Source[InferenceChunk]:
        """Begin a stream."""
        raise NotImplementedError

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        """Give the whole answer."""
        raise NotImplementedError


def _taken(messages: Messages) -> Messages:
    return messages if isinstance(messages, (str, Prompt)) else as_messages(messages)


class WrappedModel(Middleware):
    """A chat model around another; what is not about answering is the other's own."""

    def __init__(self, model: Any) -> None:
        self._inner = Inner.of(model)
        self.title = self._inner.title

    @property
    def wrapped(self) -> Any:
        """The model that it is around."""
        return self._inner.model

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._inner.model, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner.model!r})"


class Lifecycle:
    """The lifecycle of the one model that runs on this machine, given to what is around it."""

    _inner: Inner

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As they are, so that a manager sees what the model's own take.
        self.load = self._inner.model.load
        self.unload = self._inner.model.unload
        for name in ("footprint", "share_threads"):
            # Set, and not only found: newer Pythons look for a protocol's methods without asking.
            if hasattr(self._inner.model, name):
                setattr(self, name, getattr(self._inner.model, name))

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return bool(self._inner.model.is_loaded)

    @property
    def memory_bytes(self) -> int | None:
        """How much memory the model holds; ``None`` where that is not known."""
        held: int | None = getattr(self._inner.model, "memory_bytes", None)
        return held

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(getattr(self._inner.model, "device", "cpu"))

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.unload()


class Connections:
    """What a model that runs elsewhere has beside answering, given to what is around it."""

    _inner: Inner
    aclose: Callable[[], Awaitable[None]]
    """Close the connections; a later request opens new ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(type(self), "aclose"):
            # Set, and not only found: see `Lifecycle`.
            self.aclose = self._inner.model.aclose

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


@functools.cache
def with_lifecycle(cls: type[C], lifecycle: type) -> type[C]:
    """Give a class of the same name that has a lifecycle too, or connections.

    A model elsewhere must not have `Lifecycle`: that it is there is how a manager and `LocalModel`
    tell.
    """
    names = ("__module__", "__qualname__", "__doc__")
    return type(cls.__name__, (lifecycle, cls), {name: getattr(cls, name) for name in names})


def around(cls: Callable[..., Any], model: M, *args: Any, **kwargs: Any) -> M:
    """Put middleware around a model, which stays a local or a hosted one if it is one."""
    if all(hasattr(model, name) for name in ("load", "unload", "is_loaded")):
        cls = with_lifecycle(cls, Lifecycle)
    elif hasattr(model, "aclose") or hasattr(cls, "aclose"):
        cls = with_lifecycle(cls, Connections)
    made: M = cls(model, *args, **kwargs)
    return made
