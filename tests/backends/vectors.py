"""What both backends on llama.cpp must do with embedding models and rerankers, on real engines."""

from __future__ import annotations

import asyncio
import math
import sys

import numpy
import pytest

from blazen import EmbeddingModel, Reranker
from blazen.errors import (
    ContextLengthError,
    InferenceError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.hardware import release_memory, rss_bytes
from blazen.weights.starter import starter_path
from tests.encoders import TINY_WORDS, tiny_score, write_minilm, write_tiny
from tests.programs import check_footprint

TEXTS = [
    "The cat sleeps on the sofa.",
    "A kitten naps on the couch.",
    "Interest rates rose again in May.",
    "The central bank raised its rates.",
]
QUERY = "what does a heron eat"
DOCUMENTS = ["a heron eats fish", "rates rose in may", ""]


def matrix(answer):
    return numpy.asarray(answer.embeddings)


def sigmoid(number):
    return 1 / (1 + math.exp(-number))


class VectorsOfGguf:
    """Tests of an `EmbeddingModel`; a subclass says which backend it is of."""

    backend: str

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        return tmp_path_factory.mktemp("encoders")

    @pytest.fixture(scope="class")
    @classmethod
    def minilm(cls, folder):
        return write_minilm(folder / "minilm.gguf", starter_path("embed"))

    @pytest.fixture(scope="class")
    @classmethod
    def ranker(cls, folder):
        return write_minilm(folder / "ranker.gguf", starter_path("embed"), "rank", head=True)

    @pytest.fixture(scope="class")
    @classmethod
    def tiny(cls, folder):
        return write_tiny(folder / "tiny.gguf")

    def embedder(self, target, **settings):
        return getattr(EmbeddingModel, self.backend)(target, threads=1, **settings)

    def reranker(self, target, **settings):
        return getattr(Reranker, self.backend)(target, threads=1, **settings)

    @pytest.mark.skipif(sys.platform != "linux", reason="needs the most that a process had")
    def test_it_says_what_it_takes(self, minilm, ranker):
        check_footprint("EmbeddingModel", f"{self.backend}:{minilm}")
        check_footprint("Reranker", f"{self.backend}:{ranker}")

    async def test_vectors_have_length_one_and_tokens_are_counted(self, minilm):
        async with self.embedder(minilm) as model:
            answer = await model.embed(["hello world", ""])
        assert numpy.allclose(numpy.linalg.norm(matrix(answer), axis=1), 1, atol=1e-5)
        assert matrix(answer).dtype == numpy.float32
        assert answer.usage.tokens == 4 + 2
        assert answer.usage.truncated == 0
        assert answer.model == str(minilm)

    async def test_a_text_has_one_vector_alone_and_in_any_batch(self, minilm):
        texts = [f"{text} {number}" * (1 + number % 7) for number in range(30) for text in TEXTS]
        async with self.embedder(minilm) as model:
            together = matrix(await model.embed(texts))
            for index in (0, 1, 63, 119):
                alone = matrix(await model.embed(texts[index]))[0]
                assert together[index] @ alone > 1 - 1e-5

    async def test_meaning_decides_what_is_near_in_a_chat_model_too(self):
        async with self.embedder("starter:chat", pooling="mean", max_length=1024) as model:
            cat, kitten, rates, bank, _ = vectors = matrix(await model.embed([*TEXTS, ""]))
        assert vectors.shape == (5, 576)
        assert cat @ kitten > max(cat @ rates, cat @ bank)
        assert rates @ bank > max(cat @ rates, kitten @ bank)

    async def test_pooling_may_be_chosen_and_changes_the_vector(self, minilm):
        found = []
        for pooling in ("mean", "cls", "last", None):
            async with self.embedder(minilm, pooling=pooling) as model:
                found.append(matrix(await model.embed(TEXTS[0]))[0])
        mean, cls, last, said = found
        assert said @ mean > 0.99999
        assert max(cls @ mean, last @ mean, cls @ last) < 0.99

    async def test_a_model_that_does_not_say_how_it_pools_asks_for_it(self, folder):
        silent = write_minilm(folder / "silent.gguf", starter_path("embed"), None)
        for target in (silent, "starter:chat"):
            with pytest.raises(ValidationError, match="pooling='mean', 'cls' or 'last'"):
                await self.embedder(target).load()
        async with self.embedder(silent, pooling="mean") as model:
            assert (await model.embed("hello")).dimensions == 384

    async def test_a_text_longer_than_the_model_reads_is_refused_with_both_numbers(self, minilm):
        async with self.embedder(minilm) as model:
            with pytest.raises(ContextLengthError, match=r"texts\[1\] has 602 .* 512") as caught:
                await model.embed(["short", "word " * 600, "short"])
            assert (caught.value.tokens, caught.value.limit) == (602, 512)
            whole = await model.embed("word " * 510)
            assert whole.usage.tokens == 512
        async with self.embedder(minilm, max_length=8) as model:
            with pytest.raises(ContextLengthError) as caught:
                await model.embed("one two three four five six seven eight")
            assert (caught.value.tokens, caught.value.limit) == (10, 8)
            assert (await model.embed("one two three four five six")).usage.tokens == 8
        with pytest.raises(ValidationError, match="max_length is 513"):
            await self.embedder(minilm, max_length=513).load()

    async def test_a_text_longer_than_a_batch_is_read_in_one_pass(self):
        """The engine's usual 512 tokens are no limit, and what comes after is as before."""
        async with self.embedder("starter:chat", pooling="last") as model:
            before = matrix(await model.embed(TEXTS))
            long = await model.embed([TEXTS[0], "word " * 600, TEXTS[1]])
            assert long.usage.tokens > 600
            after = matrix(await model.embed(TEXTS))
        assert matrix(long)[0] @ before[0] > 0.9999
        assert matrix(long)[2] @ before[1] > 0.9999
        assert (before * after).sum(axis=1).min() > 0.9999

    async def test_ten_thousand_texts_keep_their_order_and_no_memory(self, tiny):
        texts = [f"the heron eats fish {number}" for number in range(10_000)]
        async with self.embedder(tiny, pooling="mean") as model:
            first = await model.embed(texts)
            release_memory()
            before = rss_bytes()
            again = await model.embed(texts)
            del again
            release_memory()
            assert rss_bytes() - before < 8 << 20
            for index in (0, 1, 4999, 9999):
                alone = matrix(await model.embed(texts[index]))[0]
                assert matrix(first)[index] @ alone > 1 - 1e-4
        assert len(first.embeddings) == 10_000

    async def test_cancelling_stops_inside_a_request(self, minilm):
        async with self.embedder(minilm) as model:
            task = asyncio.create_task(model.embed(["some text to embed " * 20] * 5000))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 20)
            assert (await model.embed("usable")).dimensions == 384

    async def test_weights_that_are_no_numbers_are_an_error_and_no_vectors(self, folder):
        broken = write_tiny(folder / "broken.gguf", "mean", broken=True)
        async with self.embedder(broken) as model:
            with pytest.raises(InferenceError, match="no numbers"):
                await model.embed("the heron")

    async def test_a_reranker_gives_no_vectors_and_an_embedding_model_no_ranks(
        self, ranker, minilm
    ):
        with pytest.raises(UnsupportedError, match="is a reranker"):
            await self.embedder(ranker).load()
        for target in (minilm, "starter:chat"):
            with pytest.raises(UnsupportedError, match="no classifier"):
                await self.reranker(target).load()

    async def test_scores_are_the_sigmoid_of_what_the_classifier_gives(self, tiny):
        async with self.reranker(tiny) as model:
            answer = await model.rerank(QUERY, DOCUMENTS)
        expected = [sigmoid(tiny_score(QUERY, text)) for text in DOCUMENTS]
        for row in answer.results:
            assert math.isclose(row.score, expected[row.index], abs_tol=2e-3)
        assert [row.index for row in answer.results] == sorted(range(3), key=lambda i: -expected[i])

    async def test_a_pair_that_is_too_long_names_its_document(self, tiny):
        async with self.reranker(tiny) as model:
            with pytest.raises(ContextLengthError, match=r"documents\[1\] has .* 64") as caught:
                await model.rerank(QUERY, ["a fish", "heron " * 70])
            assert caught.value.limit == 64
            assert caught.value.tokens > 70
            assert len((await model.rerank(QUERY, DOCUMENTS)).results) == 3

    async def test_marks_in_texts_are_only_letters_to_a_reranker(self, ranker):
        async with self.reranker(ranker) as model:
            marked = await model.rerank(QUERY, ["fish [SEP] fish"])
            plain = await model.rerank(QUERY, ["fish x fish"])
        assert marked.usage.tokens == plain.usage.tokens + 2, "[SEP] became one token"

    async def test_a_token_that_stands_twice_is_refused_and_does_not_end_the_process(
        self, tmp_path
    ):
        words = [*TINY_WORDS[:-1], "heron"]
        path = write_tiny(tmp_path / "twice.gguf", "mean", words=words)
        with pytest.raises(LoadError, match=r"twice\.gguf has the token .*heron' 2 times"):
            await self.embedder(path).load()
        with pytest.raises(LoadError, match="2 times"):
            await self.reranker(path).load()

    async def test_a_template_for_pairs_is_used_where_the_model_brings_one(self, folder, tiny):
        template = "[CLS] {query} [SEP] {document} [SEP]"
        path = write_tiny(folder / "template.gguf", template=template)
        async with self.reranker(path) as model, self.reranker(tiny) as bare:
            answer = await model.rerank(QUERY, DOCUMENTS)
            plain = await bare.rerank(QUERY, DOCUMENTS)
        assert answer.usage.tokens == plain.usage.tokens + len(DOCUMENTS)
        for row in answer.results:
            expected = tiny_score(QUERY, f"{row.document} [SEP]")
            assert math.isclose(row.score, sigmoid(expected), abs_tol=2e-3)

    async def test_the_engine_says_nothing_to_the_terminal(self, minilm, tiny, tmp_path, capfd):
        broken = write_tiny(tmp_path / "broken.gguf", "mean", without="blk.1.ffn_up.weight")
        async with self.embedder(minilm) as model, self.reranker(tiny) as ranker:
            await model.embed(TEXTS)
            with pytest.raises(ContextLengthError):
                await model.embed("word " * 600)
            await ranker.rerank(QUERY, DOCUMENTS)
        with pytest.raises(LoadError, match=r"broken\.gguf.*blk\.1\.ffn_up\.weight"):
            await self.embedder(broken).load()
        assert capfd.readouterr() == ("", "")

    async def test_targets_that_lead_nowhere_or_can_not_run(self, tmp_path, minilm, tiny):
        for build in (self.embedder, self.reranker):
            with pytest.raises(ModelNotFoundError):
                await build(tmp_path / "none.gguf").load()
            broken = tmp_path / "broken.gguf"
            broken.write_bytes(b"GGUF\x03\x00\x00\x00\xff\xff")
            with pytest.raises((LoadError, ValidationError), match=r"broken\.gguf"):
                await build(broken).load()
        for built, target in ((self.embedder, minilm), (self.reranker, tiny)):
            with pytest.raises(UnsupportedError, match="cuda"):
                await built(target, device="cuda:7").load()
