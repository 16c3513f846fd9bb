"""What holds for a reranker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from blazen.protocols.rerank import Reranker
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.types.rerank import RankedDocument, RerankResponse

BAD_REQUESTS: dict[str, tuple[Any, Any, Any]] = {
    "an empty query": ("", ["a"], None),
    "a blank query": (" \n", ["a"], None),
    "a query that is a number": (42, ["a"], None),
    "no query": (None, ["a"], None),
    "no documents": ("a", [], None),
    "a single text": ("a", "one document", None),
    "bytes": ("a", b"document", None),
    "nothing": ("a", None, None),
    "a list of numbers": ("a", [42], None),
    "a list with nothing in it": ("a", ["b", None], None),
    "the first none": ("a", ["b"], 0),
    "fewer than none": ("a", ["b"], -1),
    "half a document": ("a", ["b"], 1.5),
    "a count that is a text": ("a", ["b"], "1"),
}
ODD_TEXTS = {
    "empty": "",
    "blanks": " \n\t ",
    "emoji": "🦙🏽‍🔬 👩‍👩‍👧‍👦",
    "NUL": "a\0b",
    "half a surrogate pair": "a\ud83d",
    "very long": "the same words again and " * 4000,
    "one very long word": "a" * 20_000,
}


class RerankSuite(LocalSuite):
    """What a reranker must do, whatever its engine."""

    protocol = Reranker
    query = "what does a heron eat"
    documents: Sequence[str] = (
        "rye bread wants a long rest in a warm place",
        "a heron stands in the reeds and eats fish",
        "interest rates rose again in may",
        "what the neighbours eat is not known",
    )
    long_count = 64
    """How many documents make a request that can be cancelled in its middle."""
    tolerance = 1e-4
    """How far two scores may be from each other where they are to be the same."""

    def questions(self, count: int) -> list[Any]:
        """Give queries with a few documents each."""
        return [(f"{self.query} {number}", list(self.documents)) for number in range(count)]

    def long_question(self) -> Any:
        """Give many documents."""
        return self.query, [f"{self.documents[0]}, {number}" for number in range(self.long_count)]

    async def ask(self, model: Any, question: Any) -> RerankResponse:
        """Rerank documents."""
        query, documents = question
        answer: RerankResponse = await model.rerank(query, documents)
        return answer

    def same(self, answer: RerankResponse, expected: RerankResponse) -> bool:
        """Compare score by score; documents of one score may stand in either order."""
        mine, theirs = _scores(answer.results), _scores(expected.results)
        return mine.keys() == theirs.keys() and all(
            abs(mine[index] - theirs[index]) <= self.tolerance for index in mine
        )

    @on_loop
    async def test_all_documents_come_back_the_best_first(self, model: Any) -> None:
        """Each comes once, with its own place and text, and scores only fall."""
        answer = await model.rerank(self.query, list(self.documents))
        assert sorted(row.index for row in answer.results) == list(range(len(self.documents)))
        assert all(row.document == self.documents[row.index] for row in answer.results)
        scores = [row.score for row in answer.results]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores), f"not from 0 to 1: {scores}"

    @on_loop
    async def test_order_and_company_do_not_matter(self, model: Any) -> None:
        """A document has the same score wherever it stands and whatever stands beside it."""
        documents = ["short", self.documents[1] * 5, *self.documents]
        forth = _scores((await model.rerank(self.query, documents)).results)
        back = _scores((await model.rerank(self.query, documents[::-1])).results)
        for place, document in enumerate(documents):
            alone = (await model.rerank(self.query, [document])).results[0].score
            for other in (back[len(documents) - 1 - place], alone):
                assert abs(forth[place] - other) <= self.tolerance, (
                    f"{document!r:.60} has two scores: {forth[place]} and {other}"
                )

    @on_loop
    async def test_the_first_ones_are_those_of_the_whole(self, model: Any) -> None:
        """``top`` cuts the list and changes nothing else; more than there are gives all."""
        whole = await model.rerank(self.query, list(self.documents))
        for top in (1, 2, len(self.documents), len(self.documents) + 5):
            answer = await model.rerank(self.query, list(self.documents), top=top)
            assert len(answer.results) == min(top, len(self.documents))
            for mine, theirs in zip(answer.results, whole.results, strict=False):
                assert abs(mine.score - theirs.score) <= self.tolerance
                assert mine.document == self.documents[mine.index]

    @on_loop
    async def test_the_same_document_twice_has_one_score(self, model: Any) -> None:
        """Repeated documents are not dropped."""
        documents = [self.documents[0], self.documents[1], self.documents[0]]
        scores = _scores((await model.rerank(self.query, documents)).results)
        assert len(scores) == 3
        assert abs(scores[0] - scores[2]) <= self.tolerance

    @on_loop
    async def test_query_and_document_both_count(self, model: Any) -> None:
        """Another query has other scores, and so has another document."""
        one = _scores((await model.rerank(self.query, list(self.documents))).results)
        assert len(set(one.values())) > 1, f"all documents have one score: {one}"
        other = _scores((await model.rerank(self.documents[0], list(self.documents))).results)
        assert one != other, "the query does not count"

    @on_loop
    async def test_usage_counts_tokens(self, model: Any) -> None:
        """Where tokens are counted, more documents have more of them."""
        one = await model.rerank(self.query, [self.documents[0]])
        more = await model.rerank(self.query, list(self.documents), top=1)
        if one.usage is not None:
            assert 0 < one.usage.tokens < more.usage.tokens

    @pytest.mark.parametrize("what", BAD_REQUESTS)
    @on_loop
    async def test_bad_requests_are_refused(self, model: Any, what: str) -> None:
        """What can't be reranked is a `ValidationError`."""
        query, documents, top = BAD_REQUESTS[what]
        await self.check_refused(lambda: model.rerank(query, documents, top=top))

    @pytest.mark.parametrize("what", ODD_TEXTS)
    @on_loop
    async def test_odd_texts_do_no_harm(self, model: Any, what: str) -> None:
        """They are ranked or refused, as query and as document, and the next is answered."""
        odd = ODD_TEXTS[what]
        await self.check_answers_or_blazen_error(model, (self.query, [self.documents[0], odd]))
        await self.check_answers_or_blazen_error(model, (odd, list(self.documents)))


def _scores(results: Sequence[RankedDocument]) -> dict[int, float]:
    return {row.index: row.score for row in results}
