"""Which models give vectors and which rank, as their headers say."""

from __future__ import annotations

import math

import pytest

from blazen.errors import UnsupportedError, ValidationError
from blazen.weights.gguf import read_gguf
from blazen.weights.gguf.pooling import (
    POOLINGS,
    check_reranker,
    choose_pooling,
    longest_text,
    relevance,
    too_long,
)
from tests.weights.gguf_files import Maker, Tensor


@pytest.fixture
def model(tmp_path):
    def make(*tensors, architecture="bert", **facts):
        path = tmp_path / "model.gguf"
        metadata = {"general.architecture": architecture}
        metadata |= {f"{architecture}.{key}": value for key, value in facts.items()}
        Maker(metadata, list(tensors)).write(path)
        return read_gguf(path)

    return make


@pytest.mark.parametrize(("number", "name"), [(1, "mean"), (2, "cls"), (3, "last")])
def test_the_file_says_how_it_pools_and_a_caller_may_say_otherwise(model, number, name):
    assert POOLINGS[number] == name
    assert choose_pooling(model(pooling_type=number), None) == name
    assert choose_pooling(model(pooling_type=number), "last") == "last"
    assert choose_pooling(model(), "mean") == "mean"


@pytest.mark.parametrize("facts", [{}, {"pooling_type": 0}, {"pooling_type": 77}])
def test_a_file_that_does_not_say_asks_for_it(model, facts):
    with pytest.raises(ValidationError, match=r"model\.gguf .* pooling='mean', 'cls' or 'last'"):
        choose_pooling(model(**facts), None)


def test_a_reranker_is_no_embedding_model(model):
    with pytest.raises(UnsupportedError, match="see Reranker"):
        choose_pooling(model(pooling_type=4), None)


def test_a_reranker_has_a_classifier_of_one_score(model):
    hidden, last = Tensor("cls.weight", (8, 8)), Tensor("cls.output.weight", (8, 1))
    check_reranker(model(hidden, last))
    check_reranker(model(hidden))
    check_reranker(model(Tensor("cls.output.weight", (8,))))
    with pytest.raises(UnsupportedError, match="no classifier"):
        check_reranker(model(Tensor("output.weight", (8, 8)), pooling_type=4))
    with pytest.raises(UnsupportedError, match="3 classes"):
        check_reranker(model(hidden, Tensor("cls.output.weight", (8, 3))))
    check_reranker(model(Tensor("cls.output.weight", (8, 2)), architecture="qwen3"))


@pytest.mark.parametrize("number", [0.0, 1.5, -1.5, 40.0, -700.0, 1e30, -1e30])
def test_a_score_is_the_sigmoid_without_overflow(model, number):
    score = relevance(model(), number)
    assert 0 <= score <= 1
    if abs(number) < 700:
        assert math.isclose(score, 1 / (1 + math.exp(-number)), rel_tol=1e-12)


def test_what_is_a_probability_already_stays_as_it_is(model):
    assert relevance(model(architecture="qwen3"), 0.25) == 0.25
    assert math.isnan(relevance(model(), math.nan))


def test_how_long_a_text_may_be(model):
    assert longest_text(model(context_length=64), None) == 64
    assert longest_text(model(context_length=64), 10) == 10
    assert longest_text(model(), None) == 512
    assert longest_text(model(), 4096) == 4096
    with pytest.raises(ValidationError, match=r"max_length is 65, .* at most 64"):
        longest_text(model(context_length=64), 65)
    error = too_long("texts[2]", 600, 512)
    assert (error.tokens, error.limit) == (600, 512)
    assert "texts[2] has 600 tokens" in str(error)
