"""What holds for a sparse embedding model."""

from __future__ import annotations

import math
from typing import Any

from blazen.protocols.sparse import SparseEmbeddingModel
from blazen.testing.running import on_loop
from blazen.testing.text_vectors import TextVectorsSuite
from blazen.types.sparse import SparseEmbeddingResponse, SparseRow


class SparseEmbeddingSuite(TextVectorsSuite):
    """What a sparse embedding model must do, whatever its engine."""

    protocol = SparseEmbeddingModel

    async def ask(self, model: Any, question: Any) -> SparseEmbeddingResponse:
        """Embed texts that are to be found."""
        answer: SparseEmbeddingResponse = await model.embed_sparse(question)
        return answer

    async def ask_query(self, model: Any, question: Any) -> SparseEmbeddingResponse:
        """Embed texts that are searched with."""
        answer: SparseEmbeddingResponse = await model.embed_sparse_query(question)
        return answer

    def alike(self, one: SparseRow, other: SparseRow) -> bool:
        """Compare value by value; what one of them lacks counts as 0."""
        return all(
            abs(one.get(index, 0.0) - other.get(index, 0.0)) <= self.tolerance
            for index in {*one, *other}
        )

    def likeness(self, query: SparseRow, document: SparseRow) -> float:
        """Give the sum of the products."""
        return document.dot(query)

    @on_loop
    async def test_rows_are_in_order_and_finite(self, model: Any) -> None:
        """Indices ascend in each row, and the values are numbers above 0."""
        for ask in (self.ask, self.ask_query):
            for row in (await ask(model, list(self.texts))).embeddings:
                indices = list(row)
                assert indices, "a text of several words has no value at all"
                assert indices == sorted(set(indices)), "indices do not ascend"
                assert all(0 < value < math.inf for value in row.values())
