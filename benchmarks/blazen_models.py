"""blazen's chat models as the benchmarks use them: loaded, on a loop of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from benchmarks.raw_engines import CONTEXT, Moments
from blazen import CompletionOptions, LocalModel

T = TypeVar("T")


class Loaded:
    """A loaded model that answers with the moments at which its tokens came."""

    def __init__(self, backend: str, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        spec = f"{backend}:starter:chat"
        options = {"device": "cpu", "context_length": CONTEXT, **settings}
        self.model = LocalModel.from_spec(spec, **options)
        self.run(self.model.load())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the model's loop."""
        return self._loop.run_until_complete(work)

    def answer(self, prompt: str, tokens: int) -> Moments:
        """Stream one answer."""
        return self.run(self._answer(prompt, tokens))

    def together(self, prompts: Sequence[str], tokens: int) -> int:
        """Answer the prompts at once; give the number of tokens."""
        return self.run(self._together(prompts, tokens))

    async def _answer(self, prompt: str, tokens: int) -> Moments:
        options = CompletionOptions(max_tokens=tokens, temperature=0)
        stream = self.model.complete_stream(prompt, options)
        return [time.perf_counter() async for chunk in stream if chunk.content]

    async def _together(self, prompts: Sequence[str], tokens: int) -> int:
        options = CompletionOptions(max_tokens=tokens, temperature=0)
        answers = await asyncio.gather(*(self.model.complete(p, options) for p in prompts))
        return sum(answer.usage.completion_tokens for answer in answers if answer.usage)

    def close(self) -> None:
        """Give the memory back."""
        self.run(self.model.unload())
        self._loop.close()


@contextmanager
def loaded(backend: str, **settings: Any) -> Iterator[Loaded]:
    """Have a model loaded, and unloaded at the end."""
    model = Loaded(backend, **settings)
    try:
        yield model
    finally:
        model.close()
