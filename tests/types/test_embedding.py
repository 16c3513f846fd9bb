"""Vectors without NumPy, and with it."""

from __future__ import annotations

import pickle
from array import array

import pytest

from blazen.errors import ValidationError
from blazen.types.embedding import (
    EmbeddingResponse,
    EmbeddingStream,
    EmbeddingUsage,
    Vectors,
    as_texts,
)

ROWS = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [-1.5, 0.25, 8.0]]


def test_vectors_are_a_sequence_of_floats():
    vectors = Vectors.of(ROWS)
    assert len(vectors) == 3
    assert len(vectors[0]) == 3
    assert list(vectors[-1]) == ROWS[-1]
    assert vectors[1][2] == 5.0
    assert vectors.tolist() == ROWS
    assert vectors[1:].tolist() == ROWS[1:]
    assert vectors[::-1].tolist() == ROWS[::-1]
    assert [list(row) for row in vectors] == ROWS
    with pytest.raises(IndexError):
        vectors[3]
    with pytest.raises(TypeError):
        vectors[0][0] = 1.0


def test_vectors_compare_print_and_travel():
    vectors = Vectors.of(ROWS)
    assert vectors == Vectors(array("f", [x for row in ROWS for x in row]), 3)
    assert vectors != Vectors.of(ROWS[:2])
    assert vectors != ROWS
    assert hash(vectors) == hash(Vectors.of(ROWS))
    assert repr(vectors) == "Vectors(3 of 3 dimensions)"
    assert pickle.loads(pickle.dumps(vectors)) == vectors
    assert Vectors.from_dict(vectors.to_dict()) == vectors
    response = EmbeddingResponse(vectors, "m", EmbeddingUsage(7, 1))
    assert EmbeddingResponse.from_json(response.to_json()) == response
    assert response.dimensions == 3


@pytest.mark.parametrize("rows", [[], [[1.0], [1.0, 2.0]], [[]]])
def test_what_is_no_matrix_is_refused(rows):
    with pytest.raises(ValidationError):
        Vectors.of(rows)


def test_numpy_sees_the_same_memory():
    numpy = pytest.importorskip("numpy")
    matrix = numpy.arange(6, dtype="float32").reshape(2, 3)
    vectors = Vectors.of(matrix)
    assert numpy.asarray(vectors).tolist() == matrix.tolist()
    matrix[0, 0] = 9
    assert vectors[0][0] == 9.0, "no copy was made"
    assert numpy.asarray(vectors, dtype="float64").dtype == numpy.float64
    assert numpy.asarray(vectors[1]).tolist() == [3.0, 4.0, 5.0]
    assert Vectors.of(matrix.astype("float64")) == vectors
    with pytest.raises(ValidationError, match="matrix"):
        Vectors.of(matrix.ravel())


@pytest.mark.parametrize(
    ("texts", "says"),
    [([], "empty"), (None, "list of texts"), (b"x", "list of texts"), (["a", 3], r"texts\[1\]")],
)
def test_texts_that_can_not_be_right_are_refused(texts, says):
    with pytest.raises(ValidationError, match=says):
        as_texts(texts)
    assert as_texts("a") == ["a"]


@pytest.mark.parametrize(
    ("costs", "whole"), [([0.25, 0.5], 0.75), ([0.25, None], None), ([None], None)]
)
async def test_a_stream_costs_what_its_pieces_cost(costs, whole):
    async def pieces():
        for cost in costs:
            yield EmbeddingResponse(Vectors.of(ROWS), "m", EmbeddingUsage(3, 1, cost))

    usage = await EmbeddingStream.of(pieces()).collect()
    assert usage == EmbeddingUsage(3 * len(costs), len(costs), whole)
