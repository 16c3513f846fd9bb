"""Documents in the order of how well they answer a query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from blazen.checks import check_range
from blazen.errors import InferenceError, ValidationError
from blazen.types.record import Record
from blazen.types.route import Route


@dataclass(frozen=True)
class RankedDocument(Record):
    """A document, where it stood in the request, and how relevant it is."""

    index: int
    """Its place among the documents of the request, counted from 0."""
    score: float
    """From 0 to 1: how likely the model holds it that the document answers the query."""
    document: str = field(repr=False)


@dataclass(frozen=True)
class RerankUsage(Record):
    """How many tokens were read: the query counts once for each document."""

    tokens: int


@dataclass(frozen=True)
class RerankResponse(Record):
    """The documents, the most relevant first."""

    results: tuple[RankedDocument, ...]
    model: str = ""
    usage: RerankUsage | None = None
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""

    @classmethod
    def of(
        cls,
        documents: Sequence[str],
        scores: Sequence[float],
        *,
        top: int | None = None,
        model: str = "",
        usage: RerankUsage | None = None,
    ) -> RerankResponse:
        """Order documents by their scores and keep the first; equal ones stay as they came."""
        rows = [
            RankedDocument(index, float(score), document)
            for index, (document, score) in enumerate(zip(documents, scores, strict=True))
        ]
        for row in rows:
            if not math.isfinite(row.score):
                raise InferenceError(f"the score of documents[{row.index}] is {row.score}")
        rows.sort(key=lambda row: -row.score)
        return cls(tuple(rows[:top]), model, usage)


def as_documents(query: str, documents: Sequence[str], top: int | None = None) -> list[str]:
    """Give a checked list of documents; the query and ``top`` are checked with it."""
    if not isinstance(query, str):
        raise ValidationError(f"the query must be a text, not {query!r:.80}")
    if not query.strip():
        raise ValidationError(f"the query is empty ({query!r:.80}): say what is looked for")
    if not isinstance(documents, Sequence) or isinstance(documents, (str, bytes, bytearray)):
        raise ValidationError(f"rerank takes a list of documents, not {documents!r:.80}")
    if not documents:
        raise ValidationError("there is nothing to rerank: the list of documents is empty")
    for index, document in enumerate(documents):
        if not isinstance(document, str):
            raise ValidationError(f"documents[{index}] must be a text, not {document!r:.80}")
    check_range("top", top, at_least=1, integer=True)
    return list(documents)
