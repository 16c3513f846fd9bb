"""Reranking: a query and documents in, the documents by relevance out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from blazen.options import GgufRerankOptions
from blazen.options.retrieval import RerankOptions
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.rerank import RerankResponse


class RerankerFactory(Factory[P, O, "LocalReranker"]):
    """Builds a reranker that runs on this machine."""

    kind = "rerank"


class RerankerKind(Kind):
    """The factories of `Reranker`."""

    kind = "rerank"

    fastembed = RerankerFactory("fastembed", RerankOptions)
    llamacpp = RerankerFactory("llamacpp", GgufRerankOptions)
    xllamacpp = RerankerFactory("xllamacpp", GgufRerankOptions)


@runtime_checkable
class Reranker(Protocol, metaclass=RerankerKind):
    """A model that reads a query and a document together and says how relevant it is."""

    async def rerank(
        self, query: str, documents: Sequence[str], *, top: int | None = None
    ) -> RerankResponse:
        """Give the documents, the most relevant first; of these the first ``top``."""
        ...


@runtime_checkable
class LocalReranker(Reranker, Local, Protocol):
    """A reranker on this machine."""
