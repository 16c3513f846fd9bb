"""Sparse embeddings: texts in, a few weighed terms for each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from blazen.options.retrieval import SparseOptions
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.sparse import SparseEmbeddingResponse


class SparseEmbeddingModelFactory(Factory[P, O, "LocalSparseEmbeddingModel"]):
    """Builds a sparse embedding model that runs on this machine."""

    kind = "sparse"


class SparseEmbeddingModelKind(Kind):
    """The factories of `SparseEmbeddingModel`."""

    kind = "sparse"

    fastembed = SparseEmbeddingModelFactory("fastembed", SparseOptions)
    local = fastembed


@runtime_checkable
class SparseEmbeddingModel(Protocol, metaclass=SparseEmbeddingModelKind):
    """A model that turns texts into sparse vectors: which terms it is about, and how much."""

    async def embed_sparse(self, texts: str | Sequence[str]) -> SparseEmbeddingResponse:
        """Give a sparse vector for each text that is to be found, in order."""
        ...

    async def embed_sparse_query(self, texts: str | Sequence[str]) -> SparseEmbeddingResponse:
        """Give a sparse vector for each text that is searched with, in order."""
        return await self.embed_sparse(texts)


@runtime_checkable
class LocalSparseEmbeddingModel(SparseEmbeddingModel, Local, Protocol):
    """A sparse embedding model on this machine."""
