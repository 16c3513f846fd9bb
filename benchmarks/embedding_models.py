"""fastembed by itself and blazen on it, as the benchmarks of embeddings use them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from blazen import EmbeddingModel
from blazen.weights.starter import starter_path

STORY = (
    "the heron waits in shallow water and hears how bread rises while an old clock counts hours "
    "of rain on the roof where nobody sleeps before interest rates change again in early spring"
)


def mixed_texts(
    count: int, median: float = 16.0, spread: float = 1.0, most: int = 220
) -> list[str]:
    """Give texts whose numbers of words are log-normal, as they are in real collections."""
    dice, words = random.Random(7), STORY.split()
    lengths = (
        min(most, max(1, round(dice.lognormvariate(0, spread) * median))) for _ in range(count)
    )
    return [" ".join(dice.choices(words, k=length)) for length in lengths]


class RawFastEmbed:
    """fastembed's own `TextEmbedding`."""

    def __init__(self, threads: int) -> None:
        import fastembed

        from blazen_fastembed.folders import describe_folder

        folder = starter_path("embed")
        name = describe_folder(folder, "model.onnx")
        self._model = fastembed.TextEmbedding(
            name, cache_dir=str(folder), specific_model_path=str(folder), threads=threads
        )

    def at_default(self, texts: Sequence[str]) -> float:
        """Embed at its default batch size; give the seconds that it took."""
        began = time.perf_counter()
        assert len(list(self._model.embed(list(texts)))) == len(texts)
        return time.perf_counter() - began

    def one_by_one(self, texts: Sequence[str]) -> float:
        """Embed one text after the other."""
        began = time.perf_counter()
        for text in texts:
            assert len(list(self._model.embed([text]))) == 1
        return time.perf_counter() - began

    def close(self) -> None:
        """Give the memory back."""
        del self._model


class Blazen:
    """blazen's model, loaded, on a loop of its own."""

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self.model = EmbeddingModel.fastembed("starter:embed", threads=threads)
        self._loop.run_until_complete(self.model.load())

    def at_once(self, texts: Sequence[str]) -> float:
        """Embed all in one call."""
        return self._timed(self.model.embed(texts))

    def one_by_one(self, texts: Sequence[str]) -> float:
        """Embed one text after the other, each in a call of its own."""
        return self._timed(self._in_turn(texts))

    def together(self, texts: Sequence[str]) -> float:
        """Embed each text in a call of its own, all at the same time."""
        return self._timed(self._gathered(texts))

    def run(self, work: Any) -> Any:
        """Run something on the model's loop."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Give the memory back."""
        self.run(self.model.unload())
        self._loop.close()

    def _timed(self, work: Any) -> float:
        began = time.perf_counter()
        self.run(work)
        return time.perf_counter() - began

    async def _in_turn(self, texts: Sequence[str]) -> None:
        for text in texts:
            await self.model.embed(text)

    async def _gathered(self, texts: Sequence[str]) -> None:
        await asyncio.gather(*map(self.model.embed, texts))
