"""Embeddings and reranking with xllamacpp, on real weights."""

from __future__ import annotations

import pytest

import blazen
from blazen import EmbeddingModel, Reranker
from blazen.errors import ContextLengthError, InferenceError, LoadError
from blazen.testing import EmbeddingSuite, RerankSuite
from blazen.weights.starter import starter_path
from blazen_xllamacpp import encoder
from tests.backends.briefly import Briefly
from tests.backends.isolated import Apart
from tests.backends.vectors import VectorsOfGguf, matrix
from tests.encoders import write_minilm

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat", "starter:embed")


class TestXllamaCppVectors(VectorsOfGguf):
    backend = "xllamacpp"

    async def test_a_text_longer_than_it_was_loaded_for_loads_it_anew(self, minilm, monkeypatch):
        """The engine sizes its batch at load: a longer text must neither fail nor be cut."""
        texts = ["a short text", "word " * 400, "", "another short text"]
        async with self.embedder(minilm) as model:
            expected = await model.embed(texts)
        monkeypatch.setattr(encoder, "ROOM", 64)
        async with self.embedder(minilm) as model:
            grown = await model.embed(texts)
            with pytest.raises(ContextLengthError, match=r"texts\[1\] has 602 .* 512"):
                await model.embed(["short", "word " * 600])
            again = await model.embed(texts)
        for answer in (grown, again):
            assert answer.usage == expected.usage
            likeness = (matrix(answer) * matrix(expected)).sum(axis=1)
            assert likeness.min() > 1 - 1e-5

    async def test_where_there_is_no_memory_to_grow_the_model_stays_as_it_was(
        self, minilm, monkeypatch
    ):
        monkeypatch.setattr(encoder, "ROOM", 64)
        open_server = encoder.open_server

        def refuse(path, settings, **more):
            if settings["n_ctx"] > 64:
                raise LoadError("no memory")
            return open_server(path, settings, **more)

        monkeypatch.setattr(encoder, "open_server", refuse)
        async with self.embedder(minilm) as model:
            with pytest.raises(InferenceError, match="402 tokens in one pass"):
                await model.embed("word " * 400)
            assert (await model.embed("usable")).dimensions == 384

    async def test_without_memory_even_for_what_it_was_it_opens_again_when_there_is_some(
        self, minilm, monkeypatch
    ):
        monkeypatch.setattr(encoder, "ROOM", 64)

        def refuse(*args, **more):
            raise LoadError("no memory")

        async with self.embedder(minilm) as model:
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(encoder, "open_server", refuse)
                for _ in range(2):
                    with pytest.raises((InferenceError, LoadError), match="no memory"):
                        await model.embed("word " * 400)
            assert (await model.embed("usable")).dimensions == 384


class TestXllamaCppEmbedding(EmbeddingSuite):
    """The shipped suite, whole, on a real embedding model."""

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("model") / "minilm.gguf"
        model = EmbeddingModel.xllamacpp(write_minilm(path, starter_path("embed")), threads=1)
        yield model
        blazen.blocking(model).unload()

    @pytest.fixture
    def model(self, made):
        return made

    @pytest.fixture
    def broken_model(self):
        return lambda path: EmbeddingModel.xllamacpp(path, threads=1)


class TestXllamaCppEmbeddingApart(Briefly, Apart, TestXllamaCppEmbedding):
    """The same in a process of its own."""

    like = "made"


class TestXllamaCppReranker(RerankSuite):
    """The shipped suite, whole, on a real encoder with a made-up classifier."""

    tolerance = 2e-3  # attention in 16 bits: numbers depend a little on what else is in the batch

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("model") / "ranker.gguf"
        weights = write_minilm(path, starter_path("embed"), "rank", head=True)
        model = Reranker.xllamacpp(weights, threads=1)
        yield model
        blazen.blocking(model).unload()

    @pytest.fixture
    def model(self, made):
        return made

    @pytest.fixture
    def broken_model(self):
        return lambda path: Reranker.xllamacpp(path, threads=1)


class TestXllamaCppRerankerApart(Briefly, Apart, TestXllamaCppReranker):
    """The same in a process of its own."""

    like = "made"
