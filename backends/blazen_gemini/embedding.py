"""Embeddings by Gemini."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from blazen.options.gemini import GeminiEmbeddingOptions
from blazen.options.provider import ProviderOptions
from blazen.protocols.embedding import EmbeddingModel
from blazen.remote.hosted import HostedBackend
from blazen.types.embedding import (
    EmbeddingRecipe,
    EmbeddingResponse,
    EmbeddingUsage,
    Vectors,
    as_texts,
)
from blazen_gemini.asking import ask
from blazen_gemini.client import open_sdk
from blazen_gemini.prices import embedding_cost


class _Task(NamedTuple):
    """How a model is told what a vector is for: by a field, or by the text itself."""

    field: str
    prefix: str


_PASSAGE = _Task("RETRIEVAL_DOCUMENT", "title: none | text: ")
_TASKS = {
    "retrieval": (_PASSAGE, _Task("RETRIEVAL_QUERY", "task: search result | query: ")),
    "question": (_PASSAGE, _Task("QUESTION_ANSWERING", "task: question answering | query: ")),
    "facts": (_PASSAGE, _Task("FACT_VERIFICATION", "task: fact checking | query: ")),
    "code": (_PASSAGE, _Task("CODE_RETRIEVAL_QUERY", "task: code retrieval | query: ")),
    "similarity": (_Task("SEMANTIC_SIMILARITY", "task: sentence similarity | query: "),) * 2,
    "classification": (_Task("CLASSIFICATION", "task: classification | query: "),) * 2,
    "clustering": (_Task("CLUSTERING", "task: clustering | query: "),) * 2,
}
"""For each purpose: the task of what is found, and of what is searched with."""

_BY_FIELD = ("gemini-embedding-001", "gemini-embedding-exp", "text-embedding-", "embedding-")
"""Models before gemini-embedding-2, which reads the task in the text and ignores the field."""

_UNIT = 1e-3
"""So far may a vector's length be from 1: the API rounds."""


class GeminiEmbedding(HostedBackend, EmbeddingModel):
    """An embedding model of Gemini, through Google's Gemini API.

    Vectors have length 1. `aclose` closes the connections, and otherwise the end of the event loop
    does.
    """

    Options = GeminiEmbeddingOptions
    engine = "google.genai"

    def __init__(self, options: ProviderOptions | None = None) -> None:
        self.options = GeminiEmbeddingOptions.widened(options or GeminiEmbeddingOptions())
        self._name = str(self.options.model)
        self._by_field = self._name.removeprefix("models/").startswith(_BY_FIELD)
        self._sdk = open_sdk(self.options)

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order."""
        return await self._embed(texts, query=False)

    async def embed_query(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give the vector of what is searched with."""
        return await self._embed(texts, query=True)

    async def _embed(self, texts: str | Sequence[str], *, query: bool) -> EmbeddingResponse:
        given = as_texts(texts)
        task = _TASKS[self.options.purpose][query]
        prefix = "" if self._by_field else task.prefix
        size = self.options.batch_size
        answers = []
        for start in range(0, len(given), size):
            batch = [prefix + text for text in given[start : start + size]]
            answers.append(await self._ask(batch, task))
        vectors = await asyncio.to_thread(self._vectors, answers, len(given))
        return EmbeddingResponse(
            vectors,
            self._name,
            self._usage(answers),
            EmbeddingRecipe(
                pooling="model",
                normalized=True,
                prefix=task.field if self._by_field else prefix,
                versions=_versions(),
            ),
        )

    async def _ask(self, batch: list[str], task: _Task) -> Any:
        config: dict[str, Any] = {}
        if self._by_field:
            config["task_type"] = task.field
        if self.options.dimensions is not None:
            config["output_dimensionality"] = self.options.dimensions
        # Each text is a content of its own: texts in a list are one to the SDK, with one vector.
        contents = [{"role": "user", "parts": [{"text": text}]} for text in batch]
        fields = {"model": self._name, "contents": contents, "config": config}
        answer = await ask(self._sdk, "embed_content", _is_empty, fields)
        if len(answer.embeddings) != len(batch):
            raise self._sdk.malformed(f"{len(answer.embeddings)} vectors for {len(batch)} texts")
        return answer

    def _vectors(self, answers: list[Any], count: int) -> Vectors:
        rows: list[list[float]] = [
            embedding.values or [] for answer in answers for embedding in answer.embeddings
        ]
        lengths = {len(row) for row in rows}
        if len(lengths) != 1 or not rows[0]:
            raise self._sdk.malformed(f"vectors of different lengths: {sorted(lengths)}")
        flat = array("f")
        for row in rows:
            flat.extend(self._unit(row))
        return Vectors(flat, len(rows[0]))

    def _unit(self, row: list[float]) -> list[float]:
        length = math.sqrt(math.fsum(number * number for number in row))
        if not math.isfinite(length):
            raise self._sdk.malformed("a vector with a number that is none")
        if not length or abs(length - 1) < _UNIT:
            return row
        return [number / length for number in row]

    def _usage(self, answers: list[Any]) -> EmbeddingUsage | None:
        """Give the counts, where the API tells them."""
        tokens, truncated, told = 0, 0, False
        for answer in answers:
            usage = answer.usage_metadata
            statistics = [one.statistics for one in answer.embeddings if one.statistics is not None]
            truncated += sum(bool(one.truncated) for one in statistics)
            if usage is not None and usage.prompt_token_count is not None:
                tokens, told = tokens + usage.prompt_token_count, True
            elif statistics:
                tokens += round(sum(one.token_count or 0 for one in statistics))
                told = True
        if not told:
            return None
        return EmbeddingUsage(tokens, truncated, embedding_cost(self.options, tokens))


def _is_empty(answer: Any) -> bool:
    return not answer.embeddings


@cache
def _versions() -> tuple[str, ...]:
    return (f"google-genai {version('google-genai')}",)
