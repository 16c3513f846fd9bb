"""Late interaction: texts in, a vector for each token out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from blazen.options.retrieval import TokenEmbedOptions
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.token_vectors import TokenEmbeddingResponse


class TokenEmbeddingModelFactory(Factory[P, O, "LocalTokenEmbeddingModel"]):
    """Builds a late interaction model that runs on this machine."""

    kind = "token_embedding"


class TokenEmbeddingModelKind(Kind):
    """The factories of `TokenEmbeddingModel`."""

    kind = "token_embedding"

    fastembed = TokenEmbeddingModelFactory("fastembed", TokenEmbedOptions)
    local = fastembed


@runtime_checkable
class TokenEmbeddingModel(Protocol, metaclass=TokenEmbeddingModelKind):
    """A model that gives a vector for each token, so that texts are compared token by token."""

    async def embed_tokens(self, texts: str | Sequence[str]) -> TokenEmbeddingResponse:
        """Give the vectors of each text that is to be found, in order."""
        ...

    async def embed_tokens_query(self, texts: str | Sequence[str]) -> TokenEmbeddingResponse:
        """Give the vectors of each text that is searched with, in order."""
        return await self.embed_tokens(texts)


@runtime_checkable
class LocalTokenEmbeddingModel(TokenEmbeddingModel, Local, Protocol):
    """A late interaction model on this machine."""
