"""Reranking: the kind itself, its answer, the echo of it, and that its suite can fail."""

from __future__ import annotations

import pytest

import blazen
from blazen import RankedDocument, Reranker, RerankResponse
from blazen.errors import InferenceError, UnknownBackendError, ValidationError
from blazen.testing import EchoEmbedding, EchoOptions, EchoReranker, RerankSuite
from blazen.types.rerank import RerankUsage, as_documents

pytest_plugins = ["pytester"]

PACE = 0.001
SUITE = """
import pytest
from blazen.testing import RerankSuite

class TestBroken(RerankSuite):
    @pytest.fixture
    def model(self, make):
        return make()
"""


class TestEchoReranker(RerankSuite):
    @pytest.fixture
    def model(self):
        return EchoReranker(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoReranker(EchoOptions(weights=path))


def test_documents_are_ordered_by_score_and_equal_ones_stay_as_they_came():
    answer = RerankResponse.of(["a", "b", "c", "d"], [0.5, 0.1, 0.9, 0.5])
    assert [row.index for row in answer.results] == [2, 0, 3, 1]
    assert [row.document for row in answer.results] == ["c", "a", "d", "b"]
    assert RerankResponse.of(["a", "b", "c"], [0, 1, 0.5], top=2).results == (
        RankedDocument(1, 1.0, "b"),
        RankedDocument(2, 0.5, "c"),
    )
    assert len(RerankResponse.of(["a"], [1.0], top=9).results) == 1


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error_and_no_order(score):
    with pytest.raises(InferenceError, match=r"documents\[1\]"):
        RerankResponse.of(["a", "b"], [0.5, score])


def test_an_answer_comes_back_from_json():
    answer = RerankResponse.of(["ä", ""], [0.25, 0.75], model="m", usage=RerankUsage(7))
    assert RerankResponse.from_json(answer.to_json()) == answer
    assert answer.to_dict()["results"][0] == {"index": 1, "score": 0.75, "document": ""}


def test_documents_may_be_any_sequence_and_may_be_empty_texts():
    assert as_documents("q", ("a", "")) == ["a", ""]
    with pytest.raises(ValidationError, match=r"documents\[1\] must be a text, not 3"):
        as_documents("q", ["a", 3])
    with pytest.raises(ValidationError, match="query is empty"):
        as_documents("  ", ["a"])
    with pytest.raises(ValidationError, match="list of documents"):
        as_documents("q", "a document")
    with pytest.raises(ValidationError, match="top must be at least 1, not 0"):
        as_documents("q", ["a"], 0)


async def test_the_echo_counts_words_in_common():
    async with EchoReranker() as model:
        answer = await model.rerank("red fish", ["a blue bird", "red fish!", "a fish"], top=2)
    assert [(row.index, row.score) for row in answer.results] == [(1, 1.0), (2, 0.5)]
    assert (answer.model, answer.usage) == ("echo", RerankUsage(14))


def test_to_rerank_is_to_be_a_reranker():
    class Duck:
        async def rerank(self, query, documents, *, top=None): ...

    assert isinstance(Duck(), Reranker)
    assert isinstance(EchoReranker(), blazen.LocalReranker)
    assert not isinstance(EchoEmbedding(), Reranker)
    assert not isinstance(Duck(), blazen.LocalReranker)


def test_rerankers_are_built_by_name():
    assert callable(Reranker.llamacpp)
    assert callable(Reranker.xllamacpp)
    with pytest.raises(UnknownBackendError, match="no backend for rerank 'nothing'"):
        Reranker.from_spec("nothing:x")


@pytest.fixture
def failures(pytester):
    """Run the suite on a backend; give the names of the tests that fail."""

    def run(cls, only):
        class Maker:
            @pytest.fixture
            def make(self):
                return cls

        pytester.makepyfile(test_it=SUITE)
        args = ["-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-k", only]
        passed, _, failed = pytester.inline_run(*args, plugins=[Maker()]).listoutcomes()
        assert passed or failed
        return {report.nodeid.rpartition("::")[2].partition("[")[0] for report in failed}

    return run


class Unordered(EchoReranker):
    async def rerank(self, query, documents, *, top=None):
        answer = await super().rerank(query, documents, top=top)
        return RerankResponse(answer.results[::-1], answer.model, answer.usage)


class ByPlace(EchoReranker):
    async def rerank(self, query, documents, *, top=None):
        answer = await super().rerank(query, documents, top=top)
        rows = [(row.score + row.index / 100) / 2 for row in answer.results]
        return RerankResponse.of([row.document for row in answer.results], rows, top=top)


class Deaf(EchoReranker):
    async def rerank(self, query, documents, *, top=None):
        return await super().rerank("heron", documents, top=top)


class Logits(EchoReranker):
    async def rerank(self, query, documents, *, top=None):
        answer = await super().rerank(query, documents, top=top)
        rows = [RankedDocument(r.index, r.score * 9 - 4, r.document) for r in answer.results]
        return RerankResponse(tuple(rows))


@pytest.mark.parametrize(
    ("cls", "caught"),
    [
        (Unordered, {"test_all_documents_come_back_the_best_first"}),
        (Logits, {"test_all_documents_come_back_the_best_first"}),
        (ByPlace, {"test_order_and_company_do_not_matter"}),
        (Deaf, {"test_query_and_document_both_count", "test_bad_requests_are_refused"}),
    ],
)
def test_the_suite_catches_what_is_wrong(failures, cls, caught):
    found = failures(cls, "documents_come_back or company or both_count or bad_requests")
    assert found >= caught


def test_the_suite_passes_what_is_sound(failures):
    assert failures(EchoReranker, "documents_come_back or company or both_count or bad") == set()
