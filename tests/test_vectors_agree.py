"""One model's vectors and scores, whichever engine computes them."""

from __future__ import annotations

import pytest

from blazen import EmbeddingModel, Reranker
from blazen.weights.starter import starter_path

numpy = pytest.importorskip("numpy")
encoders = pytest.importorskip("tests.encoders")

pytestmark = pytest.mark.needs(
    "llamacpp", "xllamacpp", "fastembed", "starter:embed", "starter:chat"
)

TEXTS = ["The heron stands in the reeds.", "", "x", "Zinsen steigen", "naïve café 🦙", "[SEP] mark"]
TEXTS += ["word " * 100, "many words of many kinds, " * 12]


def matrix(answer):
    return numpy.asarray(answer.embeddings)


@pytest.mark.parametrize("backend", ["llamacpp", "xllamacpp"])
async def test_vectors_of_gguf_are_those_of_the_same_weights_in_onnx_runtime(backend, tmp_path):
    path = encoders.write_minilm(tmp_path / "minilm.gguf", starter_path("embed"))
    ours = getattr(EmbeddingModel, backend)(path, threads=1)
    theirs = EmbeddingModel.fastembed("starter:embed", threads=1)
    async with ours, theirs:
        mine, other = await ours.embed(TEXTS), await theirs.embed(TEXTS)
    assert (matrix(mine) * matrix(other)).sum(axis=1).min() > 0.9999
    assert mine.usage == other.usage


async def test_both_engines_on_llama_cpp_give_one_vector():
    texts = [text for text in TEXTS if text != "word " * 100]
    one, other = [
        build("starter:chat", pooling="mean", threads=1)
        for build in (EmbeddingModel.llamacpp, EmbeddingModel.xllamacpp)
    ]
    async with one, other:
        mine, theirs = await one.embed(texts), await other.embed(texts)
    # The weights have four bits, and each engine rounds what it multiplies them with in its way.
    assert (matrix(mine) * matrix(theirs)).sum(axis=1).min() > 0.99
    assert mine.usage == theirs.usage


async def test_both_engines_on_llama_cpp_give_one_score(tmp_path):
    path = encoders.write_minilm(tmp_path / "ranker.gguf", starter_path("embed"), "rank", head=True)
    one, other = Reranker.llamacpp(path, threads=1), Reranker.xllamacpp(path, threads=1)
    async with one, other:
        mine, theirs = await one.rerank("a heron", TEXTS), await other.rerank("a heron", TEXTS)
    scores = [{row.index: row.score for row in answer.results} for answer in (mine, theirs)]
    assert max(abs(scores[0][index] - scores[1][index]) for index in scores[0]) < 5e-3
    assert mine.usage == theirs.usage
