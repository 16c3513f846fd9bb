"""A vector for each token, and how texts are compared by them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from blazen.errors import ValidationError
from blazen.types.embedding import EmbeddingUsage, Vectors
from blazen.types.token_vectors import TokenEmbeddingResponse, TokenVectors, score

MATRICES = [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5]], []]
WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None  # as if it were not installed
from blazen.types.embedding import Vectors
from blazen.types.token_vectors import score
print(score(Vectors.of([[1, 0], [0, 2]]), Vectors.of([[3, 1], [1, 4], [-9, -9]])))
"""


def test_each_text_has_a_matrix():
    vectors = TokenVectors.of(MATRICES)
    assert [matrix.tolist() for matrix in vectors] == MATRICES
    assert (len(vectors), vectors.dimensions) == (3, 2)
    assert vectors.offsets.tolist() == [0, 2, 3, 3]
    assert isinstance(vectors[0], Vectors)
    assert vectors[-1].dimensions == 2
    assert repr(vectors) == "TokenVectors(3 texts, 3 vectors of 2 dimensions)"
    with pytest.raises(IndexError):
        vectors[3]


def test_slices_are_token_vectors():
    vectors = TokenVectors.of(MATRICES)
    assert [matrix.tolist() for matrix in vectors[::-1]] == MATRICES[::-1]
    assert vectors[:1] == TokenVectors.of(MATRICES[:1])


def test_arrays_are_taken_and_given():
    numpy = pytest.importorskip("numpy")
    vectors = TokenVectors.of([numpy.array(matrix, "float64") for matrix in MATRICES[:2]])
    assert vectors == TokenVectors.of(MATRICES[:2])
    matrix = numpy.asarray(vectors[0])
    assert matrix.dtype == "float32"
    assert matrix.tolist() == MATRICES[0]


def test_each_vector_of_the_query_finds_its_best():
    query = Vectors.of([[1, 0], [0, 2]])
    document = Vectors.of([[3, 1], [1, 4], [-9, -9]])
    assert score(query, document) == 3 + 8
    assert score(query, Vectors.of([[-1, -1]])) == -3
    assert score(query, TokenVectors.of(MATRICES)[2]) == 0
    assert TokenVectors.of(MATRICES).scores(query) == [3.0, 1.5, 0.0]


def test_scores_need_no_numpy():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMPY], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "11.0"


def test_vectors_of_different_models_are_not_compared():
    with pytest.raises(ValidationError, match="2 dimensions, the document of 3"):
        score(Vectors.of([[1, 0]]), Vectors.of([[1, 0, 0]]))


def test_they_come_back_from_json_and_from_pickle():
    vectors = TokenVectors.of(MATRICES)
    for again in (TokenVectors.from_dict(vectors.to_dict()), pickle.loads(pickle.dumps(vectors))):
        assert again == vectors
        assert hash(again) == hash(vectors)
    assert vectors != TokenVectors.of(MATRICES[:2])
    answer = TokenEmbeddingResponse(vectors, "m", EmbeddingUsage(3))
    assert answer.dimensions == 2
    assert TokenEmbeddingResponse.from_json(answer.to_json()) == answer


@pytest.mark.parametrize(
    ("values", "offsets", "dimensions", "what"),
    [
        ([1.0, 2.0, 3.0], [0, 1], 2, "3 numbers are no vectors of 2"),
        ([1.0, 2.0], [0, 2], 2, "from 0 to 1"),
        ([1.0, 2.0], [0, 1], 0, "no vectors of 0"),
        ([1.0, 2.0, 3.0, 4.0], [0, 2, 1, 2], 2, "must not fall"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(values, offsets, dimensions, what):
    with pytest.raises(ValidationError, match=what):
        TokenVectors(values, offsets, dimensions)


def test_matrices_of_different_widths_are_refused():
    with pytest.raises(ValidationError, match=r"of one length, not \[1, 2\]"):
        TokenVectors.of([[[1.0]], [[1.0, 2.0]]])
