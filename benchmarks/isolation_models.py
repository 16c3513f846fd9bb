"""What the benchmark of isolation asks: an engine that costs nothing, and ways to ask real ones."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from benchmarks.embedding_models import mixed_texts
from blazen import EmbeddingModel, LocalModel, hardware
from blazen.bridge import Job, StreamJob
from blazen.isolation import spares
from blazen.isolation.model import isolate
from blazen.local import LocalBackend
from blazen.options.isolation import Isolation
from blazen.protocols.model import Model
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, InferenceChunk, InferenceChunkStream
from blazen.types.progress import OnProgress


@dataclass(frozen=True)
class InstantOptions:
    """How fast it is."""

    name: str = "instant"
    _: KW_ONLY
    pause: float = 0.0
    """Seconds before each token."""


class Instant(LocalBackend[object], Model):
    """A chat model whose tokens cost nothing; each says when it was made."""

    Options = InstantOptions
    options: InstantOptions

    def _open(self, job: Job, report: OnProgress) -> object:
        return object()

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Give as many tokens as are asked for."""
        tokens = CompletionOptions.of(options).max_tokens or 1
        return InferenceChunkStream(lambda: self._source(_tell, tokens, self.options.pause))


def _tell(engine: object, job: StreamJob[InferenceChunk], tokens: int, pause: float) -> None:
    for _ in range(tokens):
        if pause:
            time.sleep(pause)
        if not job.emit(InferenceChunk(content=repr(time.perf_counter()))):
            return


class Tokens:
    """Streams of `Instant`."""

    def __init__(self, pause: float, *, apart: bool) -> None:
        self._loop = asyncio.new_event_loop()
        model = Instant(InstantOptions(pause=pause))
        self._model: Any = isolate(model, Isolation()) if apart else model
        self._loop.run_until_complete(self._model.load())

    def each(self, tokens: int) -> float:
        """Give the microseconds of one token."""
        began = time.perf_counter()
        count = len(self._loop.run_until_complete(self._read(tokens)))
        assert count == tokens, f"{count} of {tokens} tokens came"
        return (time.perf_counter() - began) / tokens * 1e6

    def later(self, tokens: int) -> float:
        """Give the microseconds from the making of a token until it is read: the median."""
        waits = sorted(self._loop.run_until_complete(self._read(tokens)))
        return waits[len(waits) // 2] * 1e6

    async def _read(self, tokens: int) -> list[float]:
        stream = self._model.complete_stream("", {"max_tokens": tokens})
        return [time.perf_counter() - float(chunk.content or 0) async for chunk in stream]

    def close(self) -> None:
        """End the other process."""
        self._loop.run_until_complete(self._model.unload())
        self._loop.close()


class Vectors:
    """The starter's embedding model."""

    def __init__(self, threads: int, isolation: str | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._model: Any = EmbeddingModel.from_spec(
            "fastembed:starter:embed", threads=threads, isolation=isolation
        )
        self._loop.run_until_complete(self._model.embed("warm"))

    def embed(self, count: int) -> float:
        """Give the seconds that so many short texts take."""
        texts = mixed_texts(count, median=5, spread=0.4)
        began = time.perf_counter()
        answer = self._loop.run_until_complete(self._model.embed(texts))
        took = time.perf_counter() - began
        assert len(answer.embeddings) == count, "one for each text"
        assert answer.dimensions == 384, "the starter's"
        return took

    def close(self) -> None:
        """Give the memory back."""
        self._loop.run_until_complete(self._model.unload())
        self._loop.close()


class Cycles:
    """Models that are loaded, asked and unloaded again."""

    def __init__(self, spec: str, isolation: Isolation | None, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._spec = spec
        self._settings = {**settings, "isolation": isolation}
        self.first()

    def first(self, rest: float = 0.0) -> float:
        """Give the seconds until a new model has answered; before, a spare has time to warm up."""
        time.sleep(rest)
        return self._loop.run_until_complete(self._first())

    def grown(self, cycles: int) -> float:
        """Give the MB by which this process grows from the first cycles to the last."""
        for _ in range(2):  # what is loaded once stays
            self.first()
        before = self._held()
        for _ in range(cycles):
            self.first()
        return (self._held() - before) / 1e6

    async def _first(self) -> float:
        model: Any = LocalModel.from_spec(self._spec, **self._settings)
        began = time.perf_counter()
        await model.complete("Hello!", {"max_tokens": 1, "temperature": 0})
        took = time.perf_counter() - began
        await model.unload()
        return took

    def _held(self) -> int:
        gc.collect()
        hardware.release_memory()
        return hardware.rss_bytes()

    def close(self) -> None:
        """End what waits."""
        spares.dismiss()
        self._loop.close()
