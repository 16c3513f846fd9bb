"""One request: what is to be read, what was written, and how it ends."""

from __future__ import annotations

import time
from queue import SimpleQueue

from blazen.bridge import StreamJob
from blazen.chat.reader import AnswerReader
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
    TokenLogprob,
)
from blazen_llamacpp.sampling import Sampler


class Request:
    """A request on its way through the engine; after it was submitted, the engine's thread has it.

    ``events`` tells the thread of the caller what to do: ``False``, that the reader is far behind
    and the request rests until there is room; ``True``, that it has ended.
    """

    def __init__(
        self,
        prompt: list[int],
        sampler: Sampler,
        reader: AnswerReader,
        job: StreamJob[InferenceChunk],
        *,
        asked: float,
        max_tokens: int | None = None,
        logprobs: int | None = None,
    ) -> None:
        self.tokens = list(prompt)
        """All that the model has to have read before it goes on: the prompt, then the answer."""
        self.prompt_tokens = len(prompt)
        self.written = 0
        self.max_tokens = max_tokens
        self.sampler = sampler
        self.reader = reader
        self.job = job
        self.logprobs = logprobs
        self.cached_tokens: int | None = None
        self.resting = False
        self.number = 0
        self.events: SimpleQueue[bool] = SimpleQueue()
        self.failure: Exception | None = None
        self._asked = asked
        self._started: float | None = None
        self._first: float | None = None
        self._likely: list[TokenLogprob] = []

    @property
    def has_begun(self) -> bool:
        """Whether the engine has begun to read it."""
        return self._started is not None

    def begin(self, cached: int) -> None:
        """Note that the engine begins to read, and how much it knows already."""
        if self._started is None:
            self._started = time.monotonic()
            self.cached_tokens = cached

    def write(
        self, token: int, piece: bytes, *, end: bool, likely: TokenLogprob | None
    ) -> FinishReason | None:
        """Take the next token of the answer; say why it was the last one, if it was."""
        if self._first is None:
            self._first = time.monotonic()
        self.written += 1
        if likely is not None:
            self._likely.append(likely)
        if end:
            return FinishReason.Stop
        self.tokens.append(token)
        for chunk in self.reader.feed(piece):
            self._hand(chunk)
        if self.reader.ended is not None:
            return self.reader.ended
        if self.max_tokens is not None and self.written >= self.max_tokens:
            return FinishReason.Length
        return None

    def finish(self, reason: FinishReason) -> None:
        """Hand out the rest of the answer, and what it took."""
        chunks = self.reader.finish(reason)
        last = chunks[-1]
        last.usage = InferenceUsage(self.prompt_tokens, self.written, self.cached_tokens or 0)
        last.timing = self._timing()
        for chunk in chunks:
            self._hand(chunk)
        self.events.put(True)

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self.failure = error
        self.events.put(True)

    def leave(self) -> None:
        """End it without a word: its caller has gone."""
        self.events.put(True)

    def _hand(self, chunk: InferenceChunk) -> None:
        if self._likely:
            chunk.logprobs = tuple(self._likely)
            self._likely.clear()
        if not self.job.push(chunk):
            self.resting = True

    def _timing(self) -> InferenceTiming:
        now = time.monotonic()
        started = self._started or now
        first = self._first or now
        decode = now - first
        return InferenceTiming(
            first_token=first - self._asked,
            prompt=first - started,
            decode=decode,
            tokens_per_second=(self.written - 1) / decode
            if decode > 0 < self.written - 1
            else None,
        )
