"""What holds for an embedding model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from blazen.protocols.embedding import EmbeddingModel
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.types.embedding import EmbeddingResponse

BAD_TEXTS: dict[str, Any] = {
    "an empty list": [],
    "a number": 42,
    "nothing": None,
    "bytes": b"hello",
    "a list of numbers": [42],
    "a list with nothing in it": ["hello", None],
    "a dictionary": {"text": "hello"},
}
ODD_TEXTS = {
    "empty": "",
    "blanks": " \n\t ",
    "emoji": "🦙🏽‍🔬 👩‍👩‍👧‍👦",
    "NUL": "a\0b",
    "only NUL": "\0",
    "half a surrogate pair": "a\ud83d",
    "very long": "the same words again and " * 4000,
    "one very long word": "a" * 20_000,
}


class EmbeddingSuite(LocalSuite):
    """What an embedding model must do, whatever its engine."""

    protocol = EmbeddingModel
    texts: Sequence[str] = (
        "a cat sleeps on the warm roof",
        "the stock market fell sharply today",
        "how to bake bread with rye flour",
    )
    long_count = 64
    """How many texts make a request that can be cancelled in its middle."""
    tolerance = 1e-4
    """How far a cosine may be from 1 where two vectors are to be the same. A quantised model, whose
    numbers depend on what else is in the batch, needs more."""

    def questions(self, count: int) -> list[Any]:
        """Give different lists of texts."""
        return [[f"{number}. {text}" for text in self.texts] for number in range(1, count + 1)]

    def long_question(self) -> Any:
        """Give many texts."""
        return [f"{self.texts[0]}, {number}" for number in range(self.long_count)]

    async def ask(self, model: Any, question: Any) -> EmbeddingResponse:
        """Embed texts."""
        answer: EmbeddingResponse = await model.embed(question)
        return answer

    def same(self, answer: EmbeddingResponse, expected: EmbeddingResponse) -> bool:
        """Compare vector by vector."""
        return len(answer.embeddings) == len(expected.embeddings) and all(
            cosine(mine, theirs) >= 1 - self.tolerance
            for mine, theirs in zip(answer.embeddings, expected.embeddings, strict=True)
        )

    @on_loop
    async def test_there_is_a_vector_for_each_text_in_order(self, model: Any) -> None:
        """All are of one length, and each is the vector of its own text."""
        texts = self.questions(1)[0]
        answer = await model.embed(texts)
        assert len(answer.embeddings) == len(texts)
        assert {len(vector) for vector in answer.embeddings} == {answer.dimensions}
        assert all(math.isfinite(number) for vector in answer.embeddings for number in vector)
        alone = [(await model.embed(text)).embeddings[0] for text in texts]
        for place, vector in enumerate(answer.embeddings):
            nearest = max(range(len(texts)), key=lambda other: cosine(vector, alone[other]))
            assert nearest == place, f"the vector at {place} is that of text {nearest}"

    @on_loop
    async def test_order_and_company_do_not_matter(self, model: Any) -> None:
        """A text has the same vector wherever it stands and whatever stands beside it."""
        texts = ["short", self.texts[1] * 5, *self.long_question()]
        forth = (await model.embed(texts)).embeddings
        back = (await model.embed(texts[::-1])).embeddings
        alone = [(await model.embed(text)).embeddings[0] for text in texts[:3]]
        for place, text in enumerate(texts):
            others = [back[len(texts) - 1 - place], *alone[place : place + 1]]
            likeness = min(cosine(forth[place], other) for other in others)
            assert likeness >= 1 - self.tolerance, f"{text!r:.60} has two vectors: {likeness}"

    @on_loop
    async def test_a_text_and_a_list_of_one_are_the_same(self, model: Any) -> None:
        """A single text is taken as a list of one, and a tuple as a list."""
        text = self.texts[0]
        expected = await model.embed(text)
        assert len(expected.embeddings) == 1
        self.check_same(await model.embed([text]), expected)
        self.check_same(await model.embed((text,)), expected)
        own = cosine(expected.embeddings[0], expected.embeddings[0])
        assert math.isclose(own, 1, abs_tol=1e-6), "the vector has no direction"

    @on_loop
    async def test_the_same_text_twice_has_one_vector(self, model: Any) -> None:
        """Repeated texts are not dropped."""
        answer = await model.embed([self.texts[0], self.texts[1], self.texts[0]])
        assert len(answer.embeddings) == 3
        first, other, again = answer.embeddings
        assert cosine(first, again) >= 1 - self.tolerance
        assert cosine(first, other) < cosine(first, again)

    @on_loop
    async def test_usage_counts_tokens(self, model: Any) -> None:
        """Where tokens are counted, more text has more of them."""
        one, more = await model.embed(self.texts[0]), await model.embed(list(self.texts))
        if one.usage is not None:
            assert 0 < one.usage.tokens < more.usage.tokens

    @pytest.mark.parametrize("what", BAD_TEXTS)
    @on_loop
    async def test_bad_texts_are_refused(self, model: Any, what: str) -> None:
        """What can't be texts is a `ValidationError`."""
        await self.check_refused(lambda: model.embed(BAD_TEXTS[what]))

    @pytest.mark.parametrize("what", ODD_TEXTS)
    @on_loop
    async def test_odd_texts_do_no_harm(self, model: Any, what: str) -> None:
        """They are embedded or refused, and the next request is answered."""
        await self.check_answers_or_blazen_error(model, [self.texts[0], ODD_TEXTS[what]])


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Measure how alike two directions are: 1 is the same. A vector of zeros is like nothing."""
    dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
    lengths = math.sqrt(math.fsum(a * a for a in one)) * math.sqrt(math.fsum(b * b for b in other))
    return dot / lengths if lengths else 0.0
