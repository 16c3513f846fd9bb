"""Embeddings and reranking with llama-cpp-python, on real weights."""

from __future__ import annotations

import asyncio

import pytest

import blazen
from blazen import EmbeddingModel, Reranker
from blazen.errors import InferenceError, LoadError
from blazen.testing import EmbeddingSuite, RerankSuite
from blazen.weights.starter import starter_path
from blazen_llamacpp import encoder
from tests.backends.briefly import Briefly
from tests.backends.isolated import Apart
from tests.backends.vectors import VectorsOfGguf, matrix
from tests.encoders import write_minilm

pytestmark = pytest.mark.needs("llamacpp", "starter:chat", "starter:embed")


class TestLlamaCppVectors(VectorsOfGguf):
    backend = "llamacpp"

    async def test_cancelling_stops_in_the_middle_of_one_text(self):
        """All of a text is read in one pass: on one thread this one takes minutes."""
        async with self.embedder("starter:chat", pooling="mean") as model:
            await model.embed("usable")
            task = asyncio.create_task(model.embed("word " * 7000))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 30)
            assert (await model.embed("usable")).dimensions == 576

    async def test_where_there_is_no_memory_for_a_text_the_model_stays_usable(
        self, minilm, monkeypatch
    ):
        async with self.embedder(minilm) as model:
            before = matrix(await model.embed("usable"))
        monkeypatch.setattr(encoder, "BATCH", 64)
        open_context = encoder.open_context

        def refuse(engine, path, **settings):
            if settings["n_ctx"] > 64:
                raise LoadError("no memory")
            return open_context(engine, path, **settings)

        monkeypatch.setattr(encoder, "open_context", refuse)
        async with self.embedder(minilm) as model:
            with pytest.raises(InferenceError, match="402 tokens in one pass"):
                await model.embed(["word " * 400, "short"])
            assert (matrix(await model.embed("usable")) @ before.T).min() > 1 - 1e-5

    async def test_without_memory_even_for_what_it_was_it_opens_again_when_there_is_some(
        self, minilm, monkeypatch
    ):
        monkeypatch.setattr(encoder, "BATCH", 64)

        def refuse(*args, **more):
            raise LoadError("no memory")

        async with self.embedder(minilm) as model:
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(encoder, "open_context", refuse)
                for _ in range(2):
                    with pytest.raises((InferenceError, LoadError), match="no memory"):
                        await model.embed("word " * 400)
            assert (await model.embed("usable")).dimensions == 384


class TestLlamaCppEmbedding(EmbeddingSuite):
    """The shipped suite, whole, on a real embedding model."""

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("model") / "minilm.gguf"
        model = EmbeddingModel.llamacpp(write_minilm(path, starter_path("embed")), threads=1)
        yield model
        blazen.blocking(model).unload()

    @pytest.fixture
    def model(self, made):
        return made

    @pytest.fixture
    def broken_model(self):
        return lambda path: EmbeddingModel.llamacpp(path, threads=1)


class TestLlamaCppEmbeddingApart(Briefly, Apart, TestLlamaCppEmbedding):
    """The same in a process of its own."""

    like = "made"


class TestLlamaCppReranker(RerankSuite):
    """The shipped suite, whole, on a real encoder with a made-up classifier."""

    tolerance = 2e-3  # attention in 16 bits: numbers depend a little on what else is in the batch

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("model") / "ranker.gguf"
        weights = write_minilm(path, starter_path("embed"), "rank", head=True)
        model = Reranker.llamacpp(weights, threads=1)
        yield model
        blazen.blocking(model).unload()

    @pytest.fixture
    def model(self, made):
        return made

    @pytest.fixture
    def broken_model(self):
        return lambda path: Reranker.llamacpp(path, threads=1)


class TestLlamaCppRerankerApart(Briefly, Apart, TestLlamaCppReranker):
    """The same in a process of its own."""

    like = "made"
