"""`Reranker` on llama.cpp's server engine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from blazen.bridge import Job
from blazen.local import FixedThreads, LocalBackend
from blazen.options import GgufRerankOptions
from blazen.protocols.rerank import Reranker
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.types.rerank import RerankResponse, RerankUsage, as_documents
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.pooling import check_reranker, relevance
from blazen_xllamacpp.encoder import (
    Encoder,
    Group,
    check_answer,
    check_text,
    encoder_footprint,
    open_encoder,
)


class XllamaCppReranker(FixedThreads, LocalBackend[Encoder], Reranker):
    """Scores of a GGUF reranker, which reads the query and a document together."""

    Options = GgufRerankOptions
    engine = "xllamacpp"
    options: GgufRerankOptions

    async def rerank(
        self, query: str, documents: Sequence[str], *, top: int | None = None
    ) -> RerankResponse:
        """Give the documents, the most relevant first; of these the first ``top``."""
        checked = as_documents(query, documents, top)
        return await self._call(_rerank, query, checked, top, self._title())

    def _open(self, job: Job, report: OnProgress) -> Encoder:
        encoder = open_encoder(
            self.options, job, report, prepare=_check, take_threads=self._take_threads
        )
        self._device = encoder.device
        return encoder

    def _footprint(self, job: Job) -> Footprint:
        return encoder_footprint(self.options, job, prepare=_check)

    @staticmethod
    def _close(engine: Encoder) -> None:
        engine.close()


def _check(gguf: GgufFile) -> str:
    check_reranker(gguf)
    return "rank"


def _rerank(
    encoder: Encoder, job: Job, query: str, documents: list[str], top: int | None, title: str
) -> RerankResponse:
    check_text("the query", query)
    found = encoder.read(
        job, documents, "the query with documents", lambda group: _ask(encoder, query, group)
    )
    scores = [relevance(encoder.gguf, number) for number in found.rows]
    usage = RerankUsage(found.tokens)
    return RerankResponse.of(documents, scores, top=top, model=title, usage=usage)


def _ask(encoder: Encoder, query: str, documents: Sequence[str]) -> Group[float]:
    request = {"query": query, "documents": list(documents)}
    answer = check_answer(encoder.server.handle_rerank(request))
    rows = sorted(answer["results"], key=lambda row: int(row["index"]))
    numbers = [row["relevance_score"] for row in rows]
    # JSON has no word for what is no number.
    return Group(
        [math.nan if number is None else float(number) for number in numbers],
        answer["usage"]["prompt_tokens"],
    )
