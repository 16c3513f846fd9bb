"""Embeddings of OpenAI, and of gateways that speak its API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.options.openai import OpenAiEmbeddingOptions
from blazen.options.provider import ProviderOptions
from blazen.protocols.embedding import EmbeddingModel
from blazen.types.embedding import (
    EmbeddingRecipe,
    EmbeddingResponse,
    EmbeddingUsage,
    Vectors,
    as_texts,
)
from blazen_openai.asking import checked, field, given
from blazen_openai.hosted import OpenAiModel
from blazen_openai.rows import Rows, batches

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_LONGEST = 8192
_FIXED = ("text-embedding-ada-002",)


class OpenAiEmbedding(OpenAiModel, EmbeddingModel):
    """Embeddings of OpenAI, or of a gateway that speaks its API."""

    Options = OpenAiEmbeddingOptions
    options: OpenAiEmbeddingOptions
    _kind = "embedding"
    _usual = "text-embedding-3-small"

    def __init__(self, options: ProviderOptions | None = None) -> None:
        super().__init__(options)
        if self.options.dimensions is not None and self._name in _FIXED:
            raise UnsupportedError(
                f"{self._model} has vectors of one length: leave out dimensions="
                f"{self.options.dimensions}, or take text-embedding-3-small"
            )

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order; a long list goes in several requests at once."""
        wanted = as_texts(texts)
        if self._is_known and "" in wanted:
            raise ValidationError(
                f"texts[{wanted.index('')}] is empty: {self._model} embeds no empty text"
            )
        options = self.options
        rows = Rows(len(wanted), options.dimensions)
        groups = batches(wanted, most=options.max_batch_size, most_bytes=options.max_batch_bytes)
        told: list[tuple[str, int | None]] = []
        jobs = [partial(self._group, rows, told, first, group) for first, group in groups]
        await _together(jobs, options.parallel)
        counts = [count for _, count in told if count is not None]
        usage = None
        if len(counts) == len(told):
            tokens = sum(counts)
            price = self._price
            usage = EmbeddingUsage(tokens, cost=None if price is None else price.cost(tokens))
        vectors = Vectors(rows.flat, rows.dimensions)
        return EmbeddingResponse(vectors, told[0][0], usage, self._recipe())

    async def _group(
        self, rows: Rows, told: list[tuple[str, int | None]], first: int, texts: list[str]
    ) -> None:
        sdk = self._sdk

        async def ask(client: AsyncOpenAI) -> Any:
            create: Any = client.embeddings.create  # its overloads know no dictionaries
            answer = await create(
                model=self._model,
                input=texts,
                encoding_format="base64",
                extra_body=self._extra(),
                **given(dimensions=self.options.dimensions),
            )
            return checked(sdk, answer)

        answer = await sdk.call(ask, twice=True)
        data = field(sdk, answer, "data", list)
        if len(data) != len(texts):
            raise sdk.malformed(f"{len(data)} vectors for {len(texts)} texts")
        # To unpack the largest answers takes tenths of a second: not on the loop's thread.
        await asyncio.to_thread(self._keep, rows, first, data)
        count = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        model = getattr(answer, "model", None)
        told.append(
            (
                model if isinstance(model, str) and model else self._model,
                count if type(count) is int and count >= 0 else None,
            )
        )

    def _keep(self, rows: Rows, first: int, data: list[Any]) -> None:
        sdk = self._sdk
        for each in data:
            index = field(sdk, each, "index", int)
            if not 0 <= index < len(data):
                raise sdk.malformed(f"a vector for the text at {index}, of {len(data)}")
            try:
                rows.put(first + index, getattr(each, "embedding", None))
            except (ValueError, TypeError, OverflowError) as error:
                raise sdk.malformed(str(error), error) from error

    @property
    def _is_known(self) -> bool:
        return self._name.startswith("text-embedding-")

    def _recipe(self) -> EmbeddingRecipe | None:
        if not self._is_known:
            return None
        return EmbeddingRecipe("model", normalized=True, max_length=_LONGEST, long_texts="refuse")


async def _together(jobs: Sequence[Callable[[], Awaitable[None]]], most: int) -> None:
    """Do the jobs, at most so many at once; the first that fails ends the others."""
    if len(jobs) == 1:
        await jobs[0]()
        return
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    tasks = [asyncio.create_task(work()) for _ in range(min(most, len(jobs)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
