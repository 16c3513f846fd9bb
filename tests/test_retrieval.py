"""Sparse vectors, token vectors, vectors of pictures: the kinds, their echoes, and their suites."""

from __future__ import annotations

import contextlib
import importlib

import pytest

from blazen.errors import UnknownBackendError, ValidationError
from blazen.options.retrieval import (
    ImageEmbedOptions,
    RerankOptions,
    SparseOptions,
    TokenEmbedOptions,
)
from blazen.protocols.image_embedding import ImageEmbeddingModel, as_images
from blazen.protocols.sparse import LocalSparseEmbeddingModel, SparseEmbeddingModel
from blazen.protocols.token_embedding import TokenEmbeddingModel
from blazen.testing import (
    EchoEmbedding,
    EchoImageEmbedding,
    EchoOptions,
    EchoSparse,
    EchoTokens,
    ImageEmbeddingSuite,
    SparseEmbeddingSuite,
    TokenEmbeddingSuite,
)
from blazen.testing.image_embedding import picture
from blazen.types.embedding import EmbeddingResponse
from blazen.types.sparse import SparseEmbeddingResponse, SparseVectors
from blazen.types.token_vectors import TokenEmbeddingResponse, TokenVectors

pytest_plugins = ["pytester"]

# What is first imported by an inner run is forgotten with it, and NumPy can't be imported twice.
for module in ("numpy", "PIL.Image"):
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(module)

PACE = 0.0005
SUITE = """
import pytest
from blazen.testing import {suite}

class TestBroken({suite}):
    @pytest.fixture
    def model(self, make):
        return make()
"""


class TestEchoSparse(SparseEmbeddingSuite):
    @pytest.fixture
    def model(self):
        return EchoSparse(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoSparse(EchoOptions(weights=path))


class TestEchoTokens(TokenEmbeddingSuite):
    @pytest.fixture
    def model(self):
        return EchoTokens(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoTokens(EchoOptions(weights=path))


@pytest.mark.needs("images")
class TestEchoImageEmbedding(ImageEmbeddingSuite):
    @pytest.fixture
    def model(self):
        return EchoImageEmbedding(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoImageEmbedding(EchoOptions(weights=path))


def test_to_have_the_methods_is_to_be_of_the_kind():
    class Duck:
        async def embed_sparse(self, texts): ...
        async def embed_sparse_query(self, texts): ...
        async def embed_tokens(self, texts): ...
        async def embed_tokens_query(self, texts): ...
        async def embed_images(self, images): ...

    for kind in (SparseEmbeddingModel, TokenEmbeddingModel, ImageEmbeddingModel):
        assert isinstance(Duck(), kind)
        assert not isinstance(EchoEmbedding(), kind)
        assert callable(kind.fastembed)
        assert kind.local is kind.fastembed
        with pytest.raises(UnknownBackendError, match="'nothing'"):
            kind.from_spec("nothing:x")
    assert isinstance(EchoSparse(), LocalSparseEmbeddingModel)
    assert not isinstance(Duck(), LocalSparseEmbeddingModel)


async def test_a_query_is_a_text_unless_a_model_says_otherwise():
    class OneWay(SparseEmbeddingModel):
        async def embed_sparse(self, texts):
            return SparseEmbeddingResponse(SparseVectors.of([{1: 1.0} for _ in texts]))

    assert await OneWay().embed_sparse_query(["a"]) == await OneWay().embed_sparse(["a"])
    async with EchoTokens() as model:
        assert await model.embed_tokens_query("a b") == await model.embed_tokens("a b")


def test_pictures_may_be_one_or_a_list():
    data = picture(1)
    assert [len(as_images(form)) for form in (data, [data, data], (data,))] == [1, 2, 1]
    with pytest.raises(ValidationError, match=r"images\[1\]: the image bytes are empty"):
        as_images([data, b""])
    with pytest.raises(ValidationError, match="list of images is empty"):
        as_images([])


@pytest.mark.parametrize(
    ("options", "settings", "what"),
    [
        (SparseOptions, {"model_name": " "}, "model_name"),
        (SparseOptions, {"max_batch_size": 0}, "max_batch_size"),
        (SparseOptions, {"language": ""}, "language"),
        (SparseOptions, {"b": 1.5}, "b must be at most 1"),
        (SparseOptions, {"k": -1}, "k must be at least 0"),
        (SparseOptions, {"average_length": 0}, "average_length"),
        (SparseOptions, {"stop_words": "the"}, "a list of words, not 'the'"),
        (SparseOptions, {"stop_words": [1]}, "a list of words"),
        (TokenEmbedOptions, {"max_length": 0}, "max_length"),
        (TokenEmbedOptions, {"like": 5}, "like must be a name"),
        (ImageEmbedOptions, {"threads": 0}, "threads"),
        (ImageEmbedOptions, {"device": "toaster"}, "toaster"),
        (RerankOptions, {"max_length": 1.5}, "max_length"),
    ],
)
def test_options_that_can_not_be_are_refused(options, settings, what):
    with pytest.raises(ValidationError, match=what):
        options(**settings)


@pytest.fixture
def failures(pytester):
    """Run a suite on a backend; give the names of the tests that fail."""

    def run(cls, suite, only):
        class Maker:
            @pytest.fixture
            def make(self):
                return cls

        pytester.makepyfile(test_it=SUITE.format(suite=suite))
        args = ["-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-k", only]
        passed, _, failed = pytester.inline_run(*args, plugins=[Maker()]).listoutcomes()
        assert passed or failed
        return {report.nodeid.rpartition("::")[2].partition("[")[0] for report in failed}

    return run


class Backwards(EchoSparse):
    async def embed_sparse(self, texts):
        answer = await super().embed_sparse(texts)
        return SparseEmbeddingResponse(answer.embeddings[::-1], answer.model, answer.usage)


class ByLongest(EchoSparse):
    async def embed_sparse(self, texts):
        answer = await super().embed_sparse(texts)
        longest = max(map(len, answer.embeddings))
        rows = [
            {index: value / longest for index, value in row.items()} for row in answer.embeddings
        ]
        return SparseEmbeddingResponse(SparseVectors.of(rows))


class Negative(EchoSparse):
    async def embed_sparse_query(self, texts):
        answer = await super().embed_sparse_query(texts)
        rows = [{index: -value for index, value in row.items()} for row in answer.embeddings]
        return SparseEmbeddingResponse(SparseVectors.of(rows))


class Padded(EchoTokens):
    async def embed_tokens(self, texts):
        answer = await super().embed_tokens(texts)
        longest = max(map(len, answer.embeddings))
        filled = [
            matrix.tolist() + [[0.0] * answer.dimensions] * (longest - len(matrix))
            for matrix in answer.embeddings
        ]
        return TokenEmbeddingResponse(TokenVectors.of(filled), answer.model, answer.usage)


class Blind(EchoImageEmbedding):
    async def embed_images(self, images):
        answer = await super().embed_images(images)
        return EmbeddingResponse(type(answer.embeddings).of([[1.0, 0.0]] * len(answer.embeddings)))


@pytest.mark.parametrize(
    ("cls", "suite", "caught"),
    [
        (
            Backwards,
            "SparseEmbeddingSuite",
            {"test_order_and_company_do_not_matter", "test_each_text_is_found_by_itself"},
        ),
        (ByLongest, "SparseEmbeddingSuite", {"test_order_and_company_do_not_matter"}),
        (
            Negative,
            "SparseEmbeddingSuite",
            {"test_each_text_is_found_by_itself", "test_rows_are_in_order_and_finite"},
        ),
        (
            Padded,
            "TokenEmbeddingSuite",
            {
                "test_order_and_company_do_not_matter",
                "test_vectors_have_length_one",
                "test_longer_texts_have_more_vectors",
            },
        ),
        pytest.param(
            Blind,
            "ImageEmbeddingSuite",
            {"test_order_and_company_do_not_matter"},
            marks=pytest.mark.needs("images"),
        ),
    ],
)
def test_the_suites_catch_what_is_wrong(failures, cls, suite, caught):
    only = "company or found_by or order_and or length_one or longer or any_form"
    assert failures(cls, suite, only) == caught
