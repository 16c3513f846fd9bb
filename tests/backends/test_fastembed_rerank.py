"""Reranking through fastembed, with a small cross-encoder of chance weights."""

from __future__ import annotations

import math
import sys

import pytest

import blazen
from blazen.errors import ContextLengthError, UnsupportedError, ValidationError
from blazen.options.retrieval import RerankOptions
from blazen.testing import RerankSuite

pytestmark = pytest.mark.needs("fastembed")
pytest.importorskip("fastembed")
numpy = pytest.importorskip("numpy")
pytest.importorskip("onnx")

from tokenizers import Tokenizer  # noqa: E402 - it comes with fastembed

from blazen_fastembed.rerank import FastEmbedReranker  # noqa: E402
from tests.backends.briefly import Briefly  # noqa: E402
from tests.backends.isolated import Apart  # noqa: E402
from tests.programs import check_footprint  # noqa: E402
from tests.tiny_onnx import LONGEST, TinyBert  # noqa: E402

QUERY = "what eats fish"
DOCUMENTS = ["the heron", "", "Baking bread, baking bread!", "fish eat fish", "heron " * 20]


def build(target, **settings):
    return FastEmbedReranker(RerankOptions(target, threads=1, **settings))


class TestReranker(RerankSuite):
    query = "what eats fish"
    documents = ("rye bread", "a heron eats fish", "the rates", "what is eaten")

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestRerankerApart(Briefly, Apart, TestReranker):
    """The same in a process of its own."""


@pytest.fixture(scope="module")
def bert():
    return TinyBert(1, first=True)


@pytest.fixture(scope="module")
def folder(bert, tmp_path_factory):
    place = tmp_path_factory.mktemp("rerank") / "reranker"
    return bert.write(place, output="logits", file="onnx/model.onnx")


@pytest.fixture(scope="module")
def loaded(folder):
    model = build(folder)
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def tokens(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


async def test_a_score_is_the_sigmoid_of_what_the_network_says(loaded, bert, tokens):
    answer = await loaded.rerank(QUERY, DOCUMENTS)
    pairs = [tokens.encode(QUERY, document) for document in DOCUMENTS]
    assert {row.index for row in answer.results} == set(range(len(DOCUMENTS)))
    for row in answer.results:
        pair = pairs[row.index]
        expected = 1 / (1 + math.exp(-bert.output(pair.ids, pair.type_ids)[0]))
        assert row.score == pytest.approx(expected, abs=1e-5)
    assert answer.usage.tokens == sum(len(pair.ids) for pair in pairs)


async def test_the_order_is_that_of_fastembed(loaded, folder):
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    raw = TextCrossEncoder(
        "Xenova/ms-marco-MiniLM-L-6-v2", specific_model_path=str(folder), threads=1
    )
    numbers = list(raw.rerank(QUERY, DOCUMENTS))
    best_first = sorted(range(len(DOCUMENTS)), key=lambda place: -numbers[place])
    answer = await loaded.rerank(QUERY, DOCUMENTS, top=3)
    assert [row.index for row in answer.results] == best_first[:3]


async def test_a_pair_that_is_too_long_is_refused_and_not_cut(loaded, tokens):
    long = "fish " * 70
    with pytest.raises(ContextLengthError, match=r"the query with documents\[1\] has") as refusal:
        await loaded.rerank(QUERY, ["short", long])
    assert refusal.value.limit == LONGEST
    assert refusal.value.tokens == len(tokens.encode(QUERY, long).ids)
    fitting = "fish " * (LONGEST - 7)
    assert len(tokens.encode(QUERY, fitting).ids) == LONGEST
    assert len((await loaded.rerank(QUERY, [fitting])).results) == 1


async def test_max_length_is_kept(folder):
    async with build(folder, max_length=8) as model:
        with pytest.raises(ContextLengthError, match="reads 8 at once"):
            await model.rerank(QUERY, ["the heron eats fish"])
        assert (await model.rerank("fish", ["heron"])).usage.tokens == 5
    with pytest.raises(ValidationError, match="max_length is 65"):
        await build(folder, max_length=65).load()


async def test_what_is_no_reranker_is_refused(tmp_path):
    embedding = TinyBert(8).write(tmp_path / "embedding", output="last_hidden_state")
    with pytest.raises(UnsupportedError, match="is no reranker"):
        await build(embedding).load()
    classes = TinyBert(3, first=True).write(tmp_path / "classes", output="logits")
    with pytest.raises(UnsupportedError, match="is no reranker"):
        await build(classes).load()


async def test_a_score_of_no_number_is_an_error(tmp_path):
    bert = TinyBert(1, first=True)
    bert.tensors["head"][:] = numpy.nan
    model = build(bert.write(tmp_path / "broken", output="logits"))
    with pytest.raises(blazen.InferenceError, match=r"documents\[0\] is nan"):
        await model.rerank(QUERY, ["fish"])
    await model.unload()


async def test_the_list_of_fastembed_is_known(tmp_path):
    with pytest.raises(blazen.ModelNotFoundError, match="did you mean 'BAAI/bge-reranker-base'"):
        await build("bge-reranker-bas", cache_dir=tmp_path).load()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes(folder):
    check_footprint("Reranker", f"fastembed:{folder}", question=["the heron eats fish"] * 48)


async def test_half_a_surrogate_pair_is_refused_with_its_place(loaded):
    with pytest.raises(ValidationError, match=r"documents\[1\] has half .* character 2"):
        await loaded.rerank(QUERY, ["fine", "a \ud83d b"])
    with pytest.raises(ValidationError, match=r"the query has half .* character 0"):
        await loaded.rerank("\udc00", DOCUMENTS)
