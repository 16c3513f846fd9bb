"""Answers that were given before, and are given again without asking."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import operator
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from blazen.checks import check_range, check_texts
from blazen.errors import ValidationError
from blazen.middleware.cache_keys import identity_of, key_of_request
from blazen.middleware.cache_stores import CacheStore, MemoryCache, SqliteCache
from blazen.middleware.sharing import Along, Flight
from blazen.middleware.sources import Pieces
from blazen.middleware.wrapping import Joined, M, Way, WrappedModel, around, in_one_piece, parses
from blazen.types.chat import Messages
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    ModelResponse,
)
from blazen.types.route import Route

CACHE = "cache"
"""What the ``route`` of a cached answer names as who answered."""

_TURN = 64
# Most pieces hold a text and nothing else: to look at each field takes ten times as long.
_TEXT = {"content"}
_rest = operator.attrgetter(
    *(field.name for field in dataclasses.fields(InferenceChunk) if field.name not in _TEXT)
)
_NO_REST = _rest(InferenceChunk())
_NOT_KEPT = (FinishReason.Cancelled, FinishReason.ContentFilter)

log = logging.getLogger("blazen")


def with_cache(
    model: M,
    store: CacheStore | str | os.PathLike[str] | None = None,
    *,
    ttl: float | None = None,
    sampled: bool = False,
    identity: str | None = None,
) -> M:
    """Give the model with answers kept: an equal request is answered without asking again.

    Requests are equal where messages (images and sounds by content), options and the model are.
    The ``route`` of an answer that was kept says that ``"cache"`` answered. Equal requests at the
    same time share one call. Only whole answers are kept.

    Args:
        model: Any chat model.
        store: Where answers are kept: a path is that of an SQLite file, ``None`` is 64 MiB of
            memory; `MemoryCache` and `SqliteCache` take other sizes, and may be shared by models.
        ttl: Seconds for which an answer is good; ``None``: for as long as there is room.
        sampled: Whether also such requests are answered from the cache that ask for chance, with a
            ``temperature`` above 0 and no ``seed``. By default each of them is asked anew.
        identity: What the model is called in keys, where its options do not tell all that its
            answers depend on. A class of your own without ``options`` needs it for a file.
    """
    return around(CachedModel, model, store, ttl, sampled, identity)


class CachedModel(WrappedModel):
    """A chat model whose answers are kept."""

    def __init__(
        self,
        model: Any,
        store: CacheStore | str | os.PathLike[str] | None,
        ttl: float | None,
        sampled: bool,
        identity: str | None,
    ) -> None:
        super().__init__(model)
        check_range("ttl", ttl, at_least=0.001)
        check_texts(identity=identity)
        if store is None:
            store = MemoryCache()
        elif isinstance(store, (str, os.PathLike)):
            store = SqliteCache(store)
        elif not isinstance(store, CacheStore):
            raise ValidationError(f"store is a path, a MemoryCache or SqliteCache, not {store!r}")
        known = identity or identity_of(model)
        if known is None and not isinstance(store, MemoryCache):
            raise ValidationError(
                f"nothing tells {self.title} from other models: give with_cache an identity"
            )
        self.store = store
        self._ttl = ttl
        self._sampled = sampled
        # What has no name is known by this object, in this process.
        self._identity = known or uuid.uuid4().hex
        self._flights: dict[tuple[asyncio.AbstractEventLoop, str], Flight] = {}

    async def aclose(self) -> None:
        """Close the store, and the model where it has something to close."""
        await self.store.aclose()
        if hasattr(self._inner.model, "aclose"):
            await self._inner.model.aclose()

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        key = await self._key(messages, options)
        if key is None:
            return await self._inner.complete(messages, options)
        way = Way()

        async def call(flight: Flight) -> ModelResponse:
            answer = await self._inner.complete(messages, options)
            flight.way.own = answer.route
            flight.pieces.append(in_one_piece(answer))
            return answer

        source = await self._found(key, options, way, call)
        source.gather()
        pieces = []
        try:
            while True:
                pieces.append(await source.__anext__())
        except StopAsyncIteration:
            pass
        if isinstance(source, Along) and source.first and source.flight.answer is not None:
            return source.flight.answer
        return Joined.answer(pieces, options.response_format, route=way.route)

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        key = await self._key(messages, options)
        if key is None:
            return await self._inner.open(messages, options, way)

        async def call(flight: Flight) -> Pieces:
            return await self._inner.open(messages, options, flight.way)

        return await self._found(key, options, way, call)

    async def _key(self, messages: Messages, options: CompletionOptions) -> str | None:
        """Give the key of a request; ``None`` for one that is asked anew each time."""
        by_chance = bool(options.temperature) and options.seed is None
        if by_chance and not self._sampled:
            return None
        return await key_of_request(self._identity, messages, options)

    async def _found(self, key: str, options: CompletionOptions, way: Way, call: Any) -> Pieces:
        """Give the pieces of an answer: kept ones, those of a call under way, or of a new one."""
        place = (asyncio.get_running_loop(), key)
        flight = self._flights.get(place)
        if flight is None:
            kept = _read(await self.store.get(key))
            if kept is not None:
                await asyncio.sleep(0)  # a loop of nothing but these would starve all others
                way.own = Route(self.title, CACHE)
                return _Replay(kept)
            flight = self._flights.get(place)  # one may have begun meanwhile
        source: Along
        if flight is None:
            flight = Flight(call, self._keeper(key, options), self._forgetter(place))
            self._flights[place] = flight
            way.inner = flight.way
            source = Along(flight, first=True)
        else:
            way.own = Route(self.title, CACHE, ("an equal request was under way",))
            source = Along(flight, first=False)
        await source.begun()
        return source

    def _keeper(self, key: str, options: CompletionOptions) -> Callable[[Flight], Awaitable[None]]:
        async def keep(flight: Flight) -> None:
            reasons = [piece.finish_reason for piece in flight.pieces if piece.finish_reason]
            if (reasons and reasons[-1] in _NOT_KEPT) or not parses(flight.pieces, options):
                return
            try:
                value = _written(flight.pieces)
            except (ValidationError, TypeError, ValueError) as error:
                log.warning("%s: its answer can't be kept: %s", self.title, error)
            else:
                await self.store.put(key, value, self._ttl)

        return keep

    def _forgetter(self, place: tuple[asyncio.AbstractEventLoop, str]) -> Callable[[Flight], None]:
        def forget(flight: Flight) -> None:
            if self._flights.get(place) is flight:
                del self._flights[place]

        return forget


class _Replay(Pieces):
    """The pieces of an answer that was kept."""

    def __init__(self, pieces: list[InferenceChunk]) -> None:
        self._left = deque(pieces)

    async def __anext__(self) -> InferenceChunk:
        if not self._left:
            raise StopAsyncIteration
        if not len(self._left) % _TURN:
            await asyncio.sleep(0)  # others on the loop get their turn in a long answer
            if not self._left:  # it was closed meanwhile
                raise StopAsyncIteration
        return self._left.popleft()

    def gather(self) -> None:
        """All is here."""

    async def aclose(self) -> None:
        """Give no more."""
        self._left.clear()

    def abandon(self) -> None:
        """Give no more."""
        self._left.clear()


def _written(pieces: Iterable[InferenceChunk]) -> bytes:
    # Escaped, since half a surrogate pair has no bytes of its own.
    data = [
        {"content": piece.content} if _rest(piece) == _NO_REST else piece.to_dict()
        for piece in pieces
    ]
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _read(value: bytes | None) -> list[InferenceChunk] | None:
    if value is None:
        return None
    try:
        return [
            InferenceChunk(data["content"])
            if data.keys() == _TEXT and type(data["content"]) is str
            else InferenceChunk.from_dict(data)
            for data in json.loads(value)
        ]
    except (ValueError, TypeError, AttributeError) as error:  # ValidationError is a ValueError
        log.warning("an answer in the cache can't be read, and is asked for anew: %s", error)
        return None
