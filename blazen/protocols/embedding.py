"""Embeddings: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from blazen.options import EmbedOptions, GgufEmbedOptions
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.embedding import EmbeddingResponse


class EmbeddingModelFactory(Factory[P, O, "LocalEmbeddingModel"]):
    """Builds an embedding model that runs on this machine."""

    kind = "embedding"


class EmbeddingModelKind(Kind):
    """The factories of `EmbeddingModel`."""

    kind = "embedding"

    fastembed = EmbeddingModelFactory("fastembed", EmbedOptions)
    local = fastembed
    llamacpp = EmbeddingModelFactory("llamacpp", GgufEmbedOptions)
    xllamacpp = EmbeddingModelFactory("xllamacpp", GgufEmbedOptions)


@runtime_checkable
class EmbeddingModel(Protocol, metaclass=EmbeddingModelKind):
    """A model that turns texts into vectors."""

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order."""
        ...


@runtime_checkable
class LocalEmbeddingModel(EmbeddingModel, Local, Protocol):
    """An embedding model on this machine."""
