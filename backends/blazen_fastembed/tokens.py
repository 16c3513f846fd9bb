"""`TokenEmbeddingModel` on fastembed: ColBERT and its kin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.errors import InferenceError, LoadError, UnsupportedError
from blazen.options.retrieval import TokenEmbedOptions
from blazen.protocols.token_embedding import TokenEmbeddingModel
from blazen.types.embedding import EmbeddingUsage, as_texts
from blazen.types.token_vectors import TokenEmbeddingResponse, TokenVectors
from blazen_fastembed.offered import Found
from blazen_fastembed.opening import OfferedBackend
from blazen_fastembed.room import groups, limit_tokens, measure
from blazen_fastembed.size import Limits, Shape

_USUAL = "colbert-ir/colbertv2.0"
_MARKS = 1  # fastembed puts the mark of a query or a document behind the first token


@dataclass
class Engine:
    """A loaded model, and what its sums take."""

    model: Any
    shape: Shape
    limits: Limits


class FastEmbedTokens(OfferedBackend[Engine], TokenEmbeddingModel):
    """A vector for each token: a model that fastembed knows, or a folder built like one."""

    Options = TokenEmbedOptions
    options: TokenEmbedOptions

    async def embed_tokens(self, texts: str | Sequence[str]) -> TokenEmbeddingResponse:
        """Give the vectors of each text, in order; a text that is too long loses its end."""
        return await self._call(_embed, as_texts(texts), self._title())

    async def embed_tokens_query(self, texts: str | Sequence[str]) -> TokenEmbeddingResponse:
        """Give the vectors of each text that is searched with, filled up as the model wants."""
        return await self._call(_embed_queries, as_texts(texts), self._title())

    def _offer(self) -> Any:
        from fastembed import LateInteractionTextEmbedding

        return LateInteractionTextEmbedding

    def _like(self, folder: Path) -> str:
        return _USUAL

    def _opened(self, found: Found) -> Any:
        try:
            return super()._opened(found)
        except KeyError as error:
            raise LoadError(
                f"{found.folder} has no token {error}, which {found.name} fills queries up with: "
                "name the known model that it is built like, with like="
            ) from error

    def _prepared(self, model: Any, found: Found) -> Engine:
        if "token_type_ids" in {node.name for node in model.model.get_inputs()}:
            raise UnsupportedError(
                f"{found.folder / found.file} wants token_type_ids, which fastembed does not give "
                "to such a model: export it with input_ids and attention_mask alone"
            )
        # Some models count the mark among the tokens that their tokenizer may give.
        marks = getattr(model, "RESERVED_MARKER_TOKENS", _MARKS)
        tokenizers = [model.tokenizer, model.query_tokenizer]
        limit_tokens(tokenizers, self.options.max_length, marks, self._title())
        return Engine(model, Shape.of(found.folder), self._limits(self._device))

    def _work(self, found: Found) -> int:
        shape = Shape.of(found.folder, self.options.max_length)
        return self._text_work(shape.longest, shape.text_bytes)


def _embed(engine: Engine, job: Job, texts: list[str], title: str) -> TokenEmbeddingResponse:
    lengths, truncated = measure(engine.model.tokenizer, texts, job)
    rows: list[Any] = [None] * len(texts)
    for group in groups(lengths, engine.limits, engine.shape.text_bytes, job):
        batch = [texts[place] for place in group]
        found = engine.model.embed(batch, batch_size=len(batch))
        for place, row in zip(group, found, strict=True):
            rows[place] = row
    usage = EmbeddingUsage(sum(lengths) + _MARKS * len(texts), truncated)
    return TokenEmbeddingResponse(_vectors(rows), model=title, usage=usage)


def _embed_queries(
    engine: Engine, job: Job, texts: list[str], title: str
) -> TokenEmbeddingResponse:
    lengths, truncated = measure(engine.model.query_tokenizer, texts, job)
    rows = []
    for text in texts:  # all are filled up to one length, and fastembed reads them one by one
        if job.cancelled:
            raise InferenceError("the request was stopped")
        rows.extend(engine.model.query_embed(text))
    usage = EmbeddingUsage(sum(lengths) + _MARKS * len(texts), truncated)
    return TokenEmbeddingResponse(_vectors(rows), model=title, usage=usage)


def _vectors(rows: list[Any]) -> TokenVectors:
    """Put the matrices together, each vector of length 1.

    fastembed leaves those of queries as the network gives them, which not every export normalises.
    """
    import numpy

    offsets = numpy.zeros(len(rows) + 1, dtype="int64")
    numpy.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = numpy.concatenate(rows).astype("float32")
    if not numpy.isfinite(flat).all():
        raise InferenceError("the model gave numbers that are not finite: its weights are broken")
    flat /= numpy.maximum(numpy.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return TokenVectors(flat, offsets, int(flat.shape[1]))
