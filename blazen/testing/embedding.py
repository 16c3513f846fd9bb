"""What holds for an embedding model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from blazen.protocols.embedding import EmbeddingModel
from blazen.testing.local import THREAD_GRACE_SECONDS, LocalSuite
from blazen.testing.running import on_loop
from blazen.types.embedding import EmbeddingResponse, EmbeddingStream

BAD_TEXTS: dict[str, Any] = {
    "an empty list": [],
    "a number": 42,
    "nothing": None,
    "bytes": b"hello",
    "a list of numbers": [42],
    "a list with nothing in it": ["hello", None],
    "a dictionary": {"text": "hello"},
}
BAD_SOURCES: dict[str, Any] = {"nothing": None, "a number": 42, "bytes": b"hello"}
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
        return same_vectors(answer, expected, self.tolerance)

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

    @on_loop
    async def test_a_query_finds_its_own_words(self, model: Any) -> None:
        """What is searched with has a vector too, nearest to the passage of the same words."""
        passages = (await model.embed(list(self.texts))).embeddings
        queries = await model.embed_query(list(self.texts))
        assert len(queries.embeddings) == len(passages)
        assert queries.dimensions == len(passages[0])
        for place, query in enumerate(queries.embeddings):
            likeness = [cosine(query, passage) for passage in passages]
            assert likeness.index(max(likeness)) == place, f"{self.texts[place]!r} found another"
        one = await model.embed_query(self.texts[0])
        assert cosine(one.embeddings[0], queries.embeddings[0]) >= 1 - self.tolerance

    @on_loop
    async def test_a_stream_gives_the_same_vectors_in_order(self, model: Any) -> None:
        """A few at a time, from an iterable or an asynchronous one, as in one call."""
        texts = [*self.questions(1)[0], *self.questions(2)[1]]
        expected = await model.embed(texts)
        for source in (iter(texts), _slowly(texts)):
            pieces = [piece async for piece in model.embed_stream(source, window=2)]
            rows = [row for piece in pieces for row in piece.embeddings]
            assert len(rows) == len(texts)
            assert all(len(piece.embeddings) <= 2 for piece in pieces)
            for mine, theirs in zip(rows, expected.embeddings, strict=True):
                assert cosine(mine, theirs) >= 1 - self.tolerance

    @on_loop
    async def test_a_stream_tells_its_usage_and_keeps_no_vectors(self, model: Any) -> None:
        """Collected, it gives how much was embedded."""
        texts = self.questions(1)[0]
        expected = (await model.embed(texts)).usage
        usage = await model.embed_stream(texts).collect()
        if expected is not None:
            assert usage == expected

    @on_loop
    async def test_a_stream_reads_no_further_than_it_must(self, model: Any) -> None:
        """Of a source without an end only the window is read, and to leave the loop closes it."""
        read = 0
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[str]:
            nonlocal read
            try:
                while True:
                    read += 1
                    yield self.texts[read % len(self.texts)]
            finally:
                closed.set()

        async with model.embed_stream(endless(), window=4) as stream:
            for pieces in (1, 2):
                await stream.__anext__()
                assert read <= 4 * pieces + 1, f"{read} texts were read for {pieces} windows of 4"
        await asyncio.wait_for(closed.wait(), THREAD_GRACE_SECONDS)

    @on_loop
    async def test_what_a_source_raises_comes_out_after_what_it_gave(self, model: Any) -> None:
        """Its error is raised as it is, and nothing that came before is lost."""
        text = self.texts[0]

        def broken() -> Iterator[str]:
            yield from (text, text, text)
            raise KeyError("the source broke")

        async def broken_later() -> AsyncIterator[str]:
            for each in broken():
                yield each

        for source in (broken(), broken_later()):
            found: list[EmbeddingResponse] = []
            with pytest.raises(KeyError, match="the source broke"):
                await _read_into(found, model.embed_stream(source, window=2))
            assert sum(len(piece.embeddings) for piece in found) == 3
        await self.ask(model, [text])

    @pytest.mark.parametrize("what", BAD_SOURCES)
    @on_loop
    async def test_bad_sources_are_refused(self, model: Any, what: str) -> None:
        """What gives no texts is a `ValidationError`, and so is a text that is none."""
        await self.check_refused(lambda: model.embed_stream(BAD_SOURCES[what]))
        await self.check_refused(lambda: model.embed_stream([self.texts[0], BAD_SOURCES[what]]))

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


async def _read_into(found: list[EmbeddingResponse], pieces: EmbeddingStream) -> None:
    async for piece in pieces:
        found.append(piece)  # noqa: PERF401 - what came before an error must be kept


async def _slowly(texts: Sequence[str]) -> AsyncIterator[str]:
    for text in texts:
        await asyncio.sleep(0)
        yield text


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Measure how alike two directions are: 1 is the same. A vector of zeros is like nothing."""
    dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
    lengths = math.sqrt(math.fsum(a * a for a in one)) * math.sqrt(math.fsum(b * b for b in other))
    return dot / lengths if lengths else 0.0


def same_vectors(answer: EmbeddingResponse, expected: EmbeddingResponse, tolerance: float) -> bool:
    """Tell whether two answers have the same vectors, but for so much of a cosine."""
    return len(answer.embeddings) == len(expected.embeddings) and all(
        cosine(mine, theirs) >= 1 - tolerance
        for mine, theirs in zip(answer.embeddings, expected.embeddings, strict=True)
    )
