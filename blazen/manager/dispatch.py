"""Requests by a model's name, for every kind of model, with a lease for as long as each runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from blazen import errors
from blazen.errors import (
    BlazenError,
    BudgetError,
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.manager.admission import Admission
from blazen.manager.entries import Entry, Phase
from blazen.manager.events import EventHub, EventKind
from blazen.manager.lease import Lease
from blazen.manager.tracing import Span, Tracing
from blazen.types.audio import Audio
from blazen.types.chat import Messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
    ToolCallDelta,
)
from blazen.types.embedding import EmbeddingResponse
from blazen.types.generation import ImageOptions, ImageResponse, ImageStream, MeshOptions
from blazen.types.mesh import Mesh
from blazen.types.rerank import RerankResponse
from blazen.types.route import Route, with_route
from blazen.types.speech import SpeechOptions, SpeechStream
from blazen.types.stream import Source, Stream
from blazen.types.transcription import (
    TranscriptionRequest,
    TranscriptionResponse,
    TranscriptionStream,
)

if TYPE_CHECKING:
    S = TypeVar("S", bound=Stream[Any, Any])

VERBS = {
    "complete": "complete",
    "complete_stream": "complete_stream",
    "embed": "embed",
    "rerank": "rerank",
    "transcribe": "transcribe",
    "transcribe_stream": "transcribe_stream",
    "speak": "speak",
    "speak_stream": "speak_stream",
    "generate_image": "generate",
    "generate_image_stream": "generate_stream",
    "image_to_mesh": "image_to_mesh",
}
"""What a manager can be asked for, and the method of a model that does it."""

CANT_START = (BudgetError, LoadError, MissingExtraError, ModelNotFoundError, errors.TimeoutError)
"""What keeps a model from starting, so that its fallback is asked."""


def abilities(model: Any) -> tuple[dict[str, Callable[..., Any]], bool]:
    """Give what a model can be asked for, and whether it runs on this machine."""
    can = {}
    for verb, name in VERBS.items():
        method = getattr(model, name, None)
        if callable(method):
            can[verb] = method
    if not can:
        raise ValidationError(
            f"{model!r:.80} is no model: it has none of {', '.join(sorted(set(VERBS.values())))}"
        )
    if "complete" in can and "complete_stream" not in can:
        can["complete_stream"] = _in_one_piece(can["complete"])
    elif "complete_stream" in can and "complete" not in can:
        can["complete"] = _collected(can["complete_stream"])
    lifecycle = [name for name in ("load", "unload", "is_loaded") if hasattr(model, name)]
    if lifecycle and len(lifecycle) < 3:
        raise ValidationError(
            f"{model!r:.80} has {' and '.join(lifecycle)} but not all of load, unload and "
            "is_loaded: a model on this machine needs them all, one elsewhere none"
        )
    return can, bool(lifecycle)


class Dispatch:
    """The requests that `ModelManager` takes by name."""

    _admission: Admission
    _hub: EventHub
    _tracing: Tracing | None

    if TYPE_CHECKING:

        def _entry(self, id: str) -> Entry: ...  # noqa: A002

    async def complete(
        self,
        id: str,  # noqa: A002
        messages: Messages,
        options: CompletionOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ModelResponse:
        """Answer in one piece. ``timeout`` is how long the model may take to be ready."""
        answer: ModelResponse = await self._ask(
            "complete", id, (messages, options), timeout, priority
        )
        return answer

    def complete_stream(
        self,
        id: str,  # noqa: A002
        messages: Messages,
        options: CompletionOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> InferenceChunkStream:
        """Answer piece by piece; the model is held until the stream ends, is closed or dropped."""
        arguments = (messages, options)
        return self._stream(
            InferenceChunkStream, "complete_stream", id, arguments, timeout, priority
        )

    async def stream(
        self,
        id: str,  # noqa: A002
        messages: Messages,
        on_chunk: Callable[[InferenceChunk], object],
        options: CompletionOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ModelResponse:
        """Answer, with a function called for each piece; give the whole."""
        pieces = self.complete_stream(id, messages, options, timeout=timeout, priority=priority)
        async with pieces:
            async for chunk in pieces:
                on_chunk(chunk)
        return pieces.response

    async def embed(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> EmbeddingResponse:
        """Give a vector for each text."""
        answer: EmbeddingResponse = await self._ask("embed", id, (texts,), timeout, priority)
        return answer

    async def rerank(
        self,
        id: str,  # noqa: A002
        query: str,
        documents: Sequence[str],
        *,
        top: int | None = None,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> RerankResponse:
        """Give the documents, the most relevant first."""
        answer: RerankResponse = await self._ask(
            "rerank", id, (query, documents), timeout, priority, {"top": top}
        )
        return answer

    async def transcribe(
        self,
        id: str,  # noqa: A002
        request: TranscriptionRequest | Any,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> TranscriptionResponse:
        """Write down speech."""
        answer: TranscriptionResponse = await self._ask(
            "transcribe", id, (request,), timeout, priority
        )
        return answer

    def transcribe_stream(
        self,
        id: str,  # noqa: A002
        request: TranscriptionRequest | Any,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> TranscriptionStream:
        """Write down speech piece by piece."""
        return self._stream(
            TranscriptionStream, "transcribe_stream", id, (request,), timeout, priority
        )

    async def speak(
        self,
        id: str,  # noqa: A002
        text: str,
        options: SpeechOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> Audio:
        """Speak a text."""
        answer: Audio = await self._ask("speak", id, (text, options), timeout, priority)
        return answer

    def speak_stream(
        self,
        id: str,  # noqa: A002
        text: str,
        options: SpeechOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> SpeechStream:
        """Speak a text piece by piece."""
        return self._stream(SpeechStream, "speak_stream", id, (text, options), timeout, priority)

    async def generate_image(
        self,
        id: str,  # noqa: A002
        prompt: str,
        options: ImageOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ImageResponse:
        """Make images of a prompt."""
        answer: ImageResponse = await self._ask(
            "generate_image", id, (prompt, options), timeout, priority
        )
        return answer

    def generate_image_stream(
        self,
        id: str,  # noqa: A002
        prompt: str,
        options: ImageOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ImageStream:
        """Make images of a prompt step by step."""
        return self._stream(
            ImageStream, "generate_image_stream", id, (prompt, options), timeout, priority
        )

    async def image_to_mesh(
        self,
        id: str,  # noqa: A002
        image: Any,
        options: MeshOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> Mesh:
        """Make a mesh of what an image shows."""
        answer: Mesh = await self._ask("image_to_mesh", id, (image, options), timeout, priority)
        return answer

    async def _ask(
        self,
        verb: str,
        id: str,  # noqa: A002
        arguments: tuple[Any, ...],
        timeout: float | None,
        priority: int | None,
        settings: Mapping[str, Any] | None = None,
    ) -> Any:
        entry = self._entry(id)
        if entry.fallback or self._tracing is not None:
            return await self._ask_by_route(
                verb, entry, arguments, timeout, priority, settings or {}
            )
        method = entry.can.get(verb)
        if method is None:
            raise _cannot(entry, verb)
        lease = Lease(self._admission, entry, priority, timeout, cores=True)
        await lease.__aenter__()
        try:
            if settings:
                return await method(*arguments, **settings)
            return await method(*arguments)
        finally:
            lease.release()

    async def _ask_by_route(
        self,
        verb: str,
        entry: Entry,
        arguments: tuple[Any, ...],
        timeout: float | None,
        priority: int | None,
        settings: Mapping[str, Any],
    ) -> Any:
        with self._span(verb, entry) as span:
            lease, route = await self._start(verb, entry, timeout, priority, span)
            try:
                answer = await lease.entry.can[verb](*arguments, **settings)
            finally:
                lease.release()
        return with_route(answer, route) if entry.fallback else answer

    def _span(self, verb: str, entry: Entry) -> AbstractContextManager[Span | None]:
        if self._tracing is None:
            return nullcontext()
        return self._tracing.span(f"blazen.{verb}", model_id=entry.id)

    def _stream(
        self,
        kind: Callable[[Callable[[], Awaitable[Source[Any]]]], S],
        verb: str,
        id: str,  # noqa: A002
        arguments: tuple[Any, ...],
        timeout: float | None,
        priority: int | None,
    ) -> S:
        entry = self._entry(id)
        if not entry.fallback and verb not in entry.can:
            raise _cannot(entry, verb)

        async def start() -> Source[Any]:
            tracing = self._tracing
            span = None if tracing is None else tracing.begin(f"blazen.{verb}", model_id=entry.id)
            lease = None
            try:
                lease, route = await self._start(verb, entry, timeout, priority, span)
                source = await _source_of(lease.entry.can[verb](*arguments))
            except BaseException as error:
                if lease is not None:
                    lease.release()
                if span is not None:
                    span.end(error)
                raise
            if entry.fallback:
                stream.route = route
            return LeasedSource(source, lease, span)

        stream = kind(start)
        return stream

    async def _start(
        self,
        verb: str,
        entry: Entry,
        timeout: float | None,
        priority: int | None,
        span: Span | None,
    ) -> tuple[Lease, Route]:
        """Give a lease on the first model of a chain that can start."""
        asked, reasons = entry, list[str]()
        chain = [entry.id, *entry.fallback]
        if not entry.fallback and verb not in entry.can:
            raise _cannot(entry, verb)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        end = None if timeout is None else begun + timeout
        problem: BlazenError | None = None
        for place, name in enumerate(chain):
            last = place == len(chain) - 1
            try:
                # A name that is not there is a reason to go on, a value that can't be right is not.
                entry = self._fallback(name)
                if verb not in entry.can:
                    raise _cannot(entry, verb)
                left = None if end is None else max(0.0, end - loop.time())
                patience = left if last else _shortest(left, asked.spill)
                lease = Lease(self._admission, entry, priority, patience, cores=True)
                if not last and patience is not None:
                    self._expect_in_time(entry, patience)
                await lease.__aenter__()
            except (*CANT_START, UnsupportedError) as error:
                if last:
                    raise error from problem
                reasons.append(str(error))
                problem = error
                self._hub.tell(EventKind.Spilled, asked.id, by=chain[place + 1], detail=str(error))
            else:
                if span is not None:
                    span.set(wait_seconds=loop.time() - begun, answered_by=name)
                return lease, Route(asked.id, name, tuple(reasons))
        raise AssertionError("the last one was given or has raised")

    def _fallback(self, name: str) -> Entry:
        try:
            return self._entry(name)
        except ValidationError as error:
            raise ModelNotFoundError(str(error)) from error

    def _expect_in_time(self, entry: Entry, patience: float) -> None:
        """Have a model load on although this request may not wait for it to the end.

        The request would take its load with it when it goes to the fallback, and so would each
        one after it: the model would never be there.
        """
        if entry.remote or entry.phase is Phase.Ready:
            return
        self._admission.want(entry)
        if entry.load_seconds is not None and entry.load_seconds > patience and not entry.leases:
            raise errors.TimeoutError(
                f"{entry.id!r} is not loaded; its last load took {entry.load_seconds:.1f} s, and "
                f"it may take {patience:g} s"
            )


class LeasedSource(Source[Any]):
    """The pieces of a stream, and the lease that ends with them."""

    def __init__(self, source: Source[Any], lease: Lease, span: Span | None) -> None:
        self._source = source
        self._lease = lease
        self._span = span
        self._loop = asyncio.get_running_loop()
        self._left = False

    async def __anext__(self) -> Any:
        try:
            return await self._source.__anext__()
        except BaseException as error:
            # The end, an error or a cancelling: in each case the source has stopped.
            self._lease.release()
            if self._span is not None:
                self._span.end(None if isinstance(error, StopAsyncIteration) else error)
            raise

    def gather(self) -> None:
        """Pass on that the whole is wanted."""
        self._source.gather()

    async def aclose(self) -> None:
        """Stop the model, then give it back."""
        try:
            await self._source.aclose()
        finally:
            self._lease.release()
            if self._span is not None:
                self._span.end()

    def abandon(self) -> None:
        """Stop without waiting, from anywhere, a finalizer too; the lease ends with the model."""
        if self._left:
            return
        self._left = True
        self._lease.abandon(self._source, self._loop)
        if self._span is not None:
            with suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._span.end)

    def __del__(self) -> None:
        if self._lease.granted:
            self.abandon()


async def _source_of(pieces: Any) -> Source[Any]:
    """Start a model's stream, and give what its pieces come from."""
    if isinstance(pieces, Stream):
        return await pieces.begin()
    if hasattr(pieces, "__await__"):
        pieces = await pieces
    return await Stream.of(pieces.__aiter__()).begin()


def _in_one_piece(complete: Callable[..., Any]) -> Callable[..., InferenceChunkStream]:
    """Make a stream of a chat model's whole answers."""

    def stream(messages: Messages, options: Any = None) -> InferenceChunkStream:
        async def pieces() -> AsyncIterator[InferenceChunk]:
            answer: ModelResponse = await complete(messages, options)
            yield InferenceChunk(
                content=answer.content,
                reasoning=answer.reasoning,
                tool_calls=tuple(
                    ToolCallDelta(place, call.id, call.name, call.arguments)
                    for place, call in enumerate(answer.tool_calls)
                ),
                finish_reason=answer.finish_reason,
                usage=answer.usage,
            )

        return InferenceChunkStream.of(pieces())

    return stream


def _collected(stream: Callable[..., Any]) -> Callable[..., Awaitable[ModelResponse]]:
    """Make whole answers of a chat model's streams."""

    async def complete(messages: Messages, options: Any = None) -> ModelResponse:
        found = InferenceChunkStream(lambda: _source_of(stream(messages, options)))
        return await found.collect()

    return complete


def _shortest(one: float | None, other: float | None) -> float | None:
    found = [value for value in (one, other) if value is not None]
    return min(found) if found else None


def _cannot(entry: Entry, verb: str) -> UnsupportedError:
    return UnsupportedError(
        f"{entry.id!r} can't {verb.replace('_', ' ')}: it can be asked to {', '.join(entry.can)}"
    )
