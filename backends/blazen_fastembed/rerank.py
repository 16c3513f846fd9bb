"""`Reranker` on fastembed: cross-encoders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.errors import InferenceError, UnsupportedError
from blazen.options.retrieval import RerankOptions
from blazen.protocols.rerank import Reranker
from blazen.types.rerank import RerankResponse, RerankUsage, as_documents
from blazen.weights.gguf.pooling import too_long
from blazen_fastembed.characters import check_text, check_texts
from blazen_fastembed.offered import Found
from blazen_fastembed.opening import OfferedBackend
from blazen_fastembed.room import groups, limit_tokens
from blazen_fastembed.size import Limits, Shape

_USUAL = "Xenova/ms-marco-MiniLM-L-6-v2"


@dataclass
class Engine:
    """A loaded model, what its sums take, and how much it reads."""

    model: Any
    shape: Shape
    limits: Limits
    limit: int


class FastEmbedReranker(OfferedBackend[Engine], Reranker):
    """Scores of a cross-encoder, which reads the query and a document together."""

    Options = RerankOptions
    options: RerankOptions

    async def rerank(
        self, query: str, documents: Sequence[str], *, top: int | None = None
    ) -> RerankResponse:
        """Give the documents, the most relevant first; of these the first ``top``."""
        checked = as_documents(query, documents, top)
        return await self._call(_rerank, query, checked, top, self._title())

    def _offer(self) -> Any:
        from fastembed.rerank.cross_encoder import TextCrossEncoder

        return TextCrossEncoder

    def _like(self, folder: Path) -> str:
        return _USUAL

    def _prepared(self, model: Any, found: Found) -> Engine:
        shape = model.model.get_outputs()[0].shape
        # A name in place of a number means that the file does not tell.
        classes = shape[-1] if shape and isinstance(shape[-1], int) else 1
        if len(shape or [0, 0]) != 2 or classes != 1:
            raise UnsupportedError(
                f"{found.folder / found.file} is no reranker: it gives numbers of the shape "
                f"{shape}, not one for each document"
            )
        limit_tokens([model.tokenizer], self.options.max_length, 0, self._title())
        limit = int(model.tokenizer.truncation["max_length"])
        # What is too long is refused: of a document that lost its end, no one would know.
        model.tokenizer.no_truncation()
        return Engine(model, Shape.of(found.folder), self._limits(self._device), limit)

    def _work(self, found: Found) -> int:
        shape = Shape.of(found.folder, self.options.max_length)
        return self._text_work(shape.longest, shape.text_bytes)


def _rerank(
    engine: Engine,
    job: Job,
    query: str,
    documents: list[str],
    top: int | None,
    title: str,
) -> RerankResponse:
    lengths = _measure(engine, query, documents, job)
    scores = [math.nan] * len(documents)
    for group in groups(lengths, engine.limits, engine.shape.text_bytes, job):
        batch = [documents[place] for place in group]
        found = engine.model.rerank(query, batch, batch_size=len(batch))
        for place, number in zip(group, found, strict=True):
            scores[place] = _sigmoid(number)
    usage = RerankUsage(sum(lengths))
    return RerankResponse.of(documents, scores, top=top, model=title, usage=usage)


def _measure(engine: Engine, query: str, documents: list[str], job: Job) -> list[int]:
    check_text(query, "the query")
    check_texts(documents, name="documents")
    lengths = []
    for index, document in enumerate(documents):
        if job.cancelled:
            raise InferenceError("the request was stopped")
        length = len(engine.model.tokenizer.encode(query, document).ids)
        if length > engine.limit:
            raise too_long(f"the query with documents[{index}]", length, engine.limit)
        lengths.append(length)
    return lengths


def _sigmoid(number: float) -> float:
    # Of its two forms, the one whose power can't overflow.
    small = math.exp(-abs(number))
    return 1 / (1 + small) if number >= 0 else small / (1 + small)
