"""Embeddings: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from blazen.checks import check_range
from blazen.options import (
    EmbedOptions,
    GeminiEmbeddingOptions,
    GgufEmbedOptions,
    OpenAiEmbeddingOptions,
)
from blazen.protocols.hosted import Hosted
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.embedding import EmbeddingResponse, EmbeddingStream
from blazen.types.windows import Texts, answered, check_source


class EmbeddingModelFactory(Factory[P, O, "LocalEmbeddingModel"]):
    """Builds an embedding model that runs on this machine."""

    kind = "embedding"


class HostedEmbeddingModelFactory(Factory[P, O, "HostedEmbeddingModel"]):
    """Builds an embedding model that a provider runs."""

    kind = "embedding"


class EmbeddingModelKind(Kind):
    """The factories of `EmbeddingModel`."""

    kind = "embedding"

    gemini = HostedEmbeddingModelFactory("gemini", GeminiEmbeddingOptions)
    openai = HostedEmbeddingModelFactory("openai", OpenAiEmbeddingOptions)
    fastembed = EmbeddingModelFactory("fastembed", EmbedOptions)
    local = fastembed
    llamacpp = EmbeddingModelFactory("llamacpp", GgufEmbedOptions)
    xllamacpp = EmbeddingModelFactory("xllamacpp", GgufEmbedOptions)


WINDOW = 256
"""How many texts of a stream are embedded together: enough that like lengths meet."""


def stream(
    embed: Callable[[list[str]], Awaitable[EmbeddingResponse]], texts: Texts, window: int = WINDOW
) -> EmbeddingStream:
    """Embed what comes from a source, a window of texts at a time."""
    check_source(texts)
    check_range("window", window, at_least=1, integer=True)
    return EmbeddingStream.of(answered(texts, window, embed))


@runtime_checkable
class EmbeddingModel(Protocol, metaclass=EmbeddingModelKind):
    """A model that turns texts into vectors.

    A subclass writes `embed` and has the rest; a class of any other descent that has all three
    methods is an embedding model as well.
    """

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order."""
        ...

    async def embed_query(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give the vector of what is searched with; some models tell it from what is found."""
        return await self.embed(texts)

    def embed_stream(self, texts: Texts, *, window: int = WINDOW) -> EmbeddingStream:
        """Embed texts from any source, ``window`` of them at a time, in order.

        No more of them than that is held, so that memory does not grow with their number.
        """
        return stream(self.embed, texts, window)


@runtime_checkable
class HostedEmbeddingModel(EmbeddingModel, Hosted, Protocol):
    """An embedding model that runs elsewhere."""


@runtime_checkable
class LocalEmbeddingModel(EmbeddingModel, Local, Protocol):
    """An embedding model on this machine."""
