"""Embeddings and reranking with xllamacpp, on real weights."""

from __future__ import annotations

import pytest

import blazen
from blazen import EmbeddingModel, Reranker
from blazen.errors import ContextLengthError, InferenceError, LoadError, ValidationError
from blazen.testing import EmbeddingSuite, RerankSuite
from blazen.weights.starter import starter_path
from blazen_xllamacpp import encoder
from tests.backends.briefly import Briefly
from tests.backends.isolated import Apart
from tests.backends.vectors import VectorsOfGguf, matrix
from tests.encoders import TINY_WORDS, write_minilm, write_tiny

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


class TestTokenIds:
    """Texts that come as the token ids of the model's own vocabulary."""

    @pytest.fixture
    def path(self, tmp_path):
        return write_tiny(tmp_path / "tiny.gguf", "mean")

    @staticmethod
    def ids(text):
        return [TINY_WORDS.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]

    async def test_they_give_what_their_text_gives(self, path):
        texts = ["heron eat fish", "the fish"]
        async with EmbeddingModel.xllamacpp(path, threads=1) as model:
            wanted = await model.embed(texts)
            found = await model.embed_ids([self.ids(text) for text in texts])
        for one, other in zip(found.embeddings, wanted.embeddings, strict=True):
            assert one.tolist() == pytest.approx(other.tolist(), abs=1e-5)
        assert found.usage.tokens == wanted.usage.tokens == 5 + 4

    async def test_long_ones_have_it_loaded_for_them(self, path, monkeypatch):
        monkeypatch.setattr(encoder, "ROOM", 16)
        long = self.ids("heron " * 30)
        async with EmbeddingModel.xllamacpp(path, threads=1) as model:
            found = await model.embed_ids([long, self.ids("fish")])
            assert found.usage.tokens == 32 + 3
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(encoder, "open_server", _refuse)
                for _ in range(2):
                    with pytest.raises((InferenceError, LoadError), match="no memory"):
                        await model.embed_ids([self.ids("heron " * 60)])
            assert (await model.embed_ids([long])).embeddings == found.embeddings[:1]

    @pytest.mark.parametrize(
        ("rows", "error", "words"),
        [
            ([], ValidationError, "nothing to embed"),
            ([[2], []], ValidationError, r"rows\[1\] has no tokens"),
            ([[2, 10_000]], ValidationError, "knows those from 0 to"),
            ([[-1]], ValidationError, "the token -1"),
            ([[5] * 65], ContextLengthError, "65 tokens"),
        ],
    )
    async def test_what_can_not_be_read(self, path, rows, error, words):
        async with EmbeddingModel.xllamacpp(path, threads=1) as model:
            with pytest.raises(error, match=words):
                await model.embed_ids(rows)


def _refuse(*args, **more):
    raise LoadError("no memory")


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
