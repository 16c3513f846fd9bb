"""An echo backend that reranks: it counts the words which a document shares with the query."""

from __future__ import annotations

import re
from collections.abc import Sequence

from blazen.bridge import Job
from blazen.protocols.rerank import Reranker
from blazen.testing.echo_engine import EchoBackend, EchoEngine
from blazen.types.rerank import RerankResponse, RerankUsage, as_documents


class EchoReranker(EchoBackend, Reranker):
    """A document's score is the share of the query's words that it holds."""

    async def rerank(
        self, query: str, documents: Sequence[str], *, top: int | None = None
    ) -> RerankResponse:
        """Count the words in common."""
        checked = as_documents(query, documents, top)
        return await self._call(_rank, query, checked, top, self.options.name)


def _rank(
    engine: EchoEngine, job: Job, query: str, documents: list[str], top: int | None, name: str
) -> RerankResponse:
    wanted = _words(query)
    read = [_words(document) for document in documents]
    scores = list(engine.work(job, (len(wanted & words) / len(wanted) for words in read)))
    usage = RerankUsage(sum(len(wanted) + len(words) for words in read))
    return RerankResponse.of(documents, scores, top=top, model=name, usage=usage)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+|[^\w\s]", text.lower()))
