"""What holds for a late interaction model."""

from __future__ import annotations

import math
from typing import Any

from blazen.protocols.token_embedding import TokenEmbeddingModel
from blazen.testing.running import on_loop
from blazen.testing.text_vectors import TextVectorsSuite
from blazen.types.embedding import Vectors
from blazen.types.token_vectors import TokenEmbeddingResponse, score


class TokenEmbeddingSuite(TextVectorsSuite):
    """What a late interaction model must do, whatever its engine."""

    protocol = TokenEmbeddingModel

    async def ask(self, model: Any, question: Any) -> TokenEmbeddingResponse:
        """Embed texts that are to be found."""
        answer: TokenEmbeddingResponse = await model.embed_tokens(question)
        return answer

    async def ask_query(self, model: Any, question: Any) -> TokenEmbeddingResponse:
        """Embed texts that are searched with."""
        answer: TokenEmbeddingResponse = await model.embed_tokens_query(question)
        return answer

    def alike(self, one: Vectors, other: Vectors) -> bool:
        """Compare token by token."""
        return len(one) == len(other) and all(
            abs(mine - theirs) <= self.tolerance
            for row, match in zip(one, other, strict=True)
            for mine, theirs in zip(row, match, strict=True)
        )

    def likeness(self, query: Vectors, document: Vectors) -> float:
        """Give MaxSim, as a share of what a query can reach."""
        return score(query, document) / len(query)

    @on_loop
    async def test_vectors_have_length_one(self, model: Any) -> None:
        """All are of the model's dimensions, and as long as each other."""
        for ask in (self.ask, self.ask_query):
            answer = await ask(model, list(self.texts))
            for matrix in answer.embeddings:
                assert len(matrix) > 1, "a text of several words has one vector"
                assert matrix.dimensions == answer.dimensions
                for row in matrix:
                    length = math.sqrt(math.fsum(number * number for number in row))
                    assert math.isclose(length, 1, abs_tol=1e-3), f"its length is {length}"

    @on_loop
    async def test_longer_texts_have_more_vectors(self, model: Any) -> None:
        """What fills up a batch is left out: each text has vectors for its own tokens."""
        texts = [self.texts[0], f"{self.texts[0]} {self.texts[1]}"]
        short, long = (await self.ask(model, texts)).embeddings
        assert len(short) < len(long)
