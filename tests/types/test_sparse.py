"""Sparse vectors."""

from __future__ import annotations

import math
import pickle
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.types.embedding import EmbeddingUsage
from blazen.types.sparse import SparseEmbeddingResponse, SparseVectors

ROWS = [{7: 0.5, 2: 2.0}, {}, {2: 1.0, 4_294_967_295: 0.25}]


def test_a_row_is_a_mapping_in_the_order_of_its_indices():
    first, empty, last = SparseVectors.of(ROWS)
    assert list(first.items()) == [(2, 2.0), (7, 0.5)]
    assert first == ROWS[0]
    assert (first[7], first.get(3), 3 in first, len(first)) == (0.5, None, False, 2)
    with pytest.raises(KeyError):
        first[3]
    assert (len(empty), dict(empty)) == (0, {})
    assert list(last) == [2, 4_294_967_295]
    assert repr(first) == "SparseRow({2: 2, 7: 0.5})"


def test_rows_are_views_of_the_buffers():
    vectors = SparseVectors.of(ROWS)
    assert vectors.indices.tolist() == [2, 7, 2, 4_294_967_295]
    assert vectors.values.tolist() == [2.0, 0.5, 1.0, 0.25]
    assert vectors.offsets.tolist() == [0, 2, 2, 4]
    assert vectors[0].indices.tolist() == [2, 7]
    assert vectors[-1].weights.tolist() == [1.0, 0.25]
    with pytest.raises(IndexError):
        vectors[3]


def test_slices_are_sparse_vectors():
    vectors = SparseVectors.of(ROWS)
    assert vectors[1:].tolist() == ROWS[1:]
    assert vectors[::-1].tolist() == ROWS[::-1]
    assert len(vectors[3:]) == 0


def test_a_query_scores_each_row():
    vectors = SparseVectors.of(ROWS)
    assert vectors.dot({2: 3.0, 7: 1.0, 9: 5.0}) == [6.5, 0.0, 3.0]
    assert vectors.dot(vectors[0]) == [4.25, 0.0, 2.0]
    assert vectors[0].dot({}) == 0


def test_rarity_is_bm25s_inverse_document_frequency():
    rarity = SparseVectors.of(ROWS).rarity()
    assert rarity == {
        2: pytest.approx(math.log((3 - 2 + 0.5) / (2 + 0.5) + 1)),
        7: pytest.approx(math.log((3 - 1 + 0.5) / (1 + 0.5) + 1)),
        4_294_967_295: rarity[7],
    }


@given(
    st.lists(
        st.dictionaries(st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False), max_size=9)
    )
)
def test_they_come_back_from_json_and_from_pickle(rows):
    vectors = SparseVectors.of(rows)
    assert vectors.tolist() == rows
    for again in (SparseVectors.from_dict(vectors.to_dict()), pickle.loads(pickle.dumps(vectors))):
        assert again == vectors
        assert hash(again) == hash(vectors)


def test_an_answer_comes_back_from_json():
    answer = SparseEmbeddingResponse(
        SparseVectors.of(ROWS), "m", EmbeddingUsage(5), needs_rarity=True
    )
    assert SparseEmbeddingResponse.from_json(answer.to_json()) == answer


def test_buffers_of_other_kinds_are_read_as_what_they_hold():
    numpy = pytest.importorskip("numpy")
    vectors = SparseVectors(
        numpy.array([2, 7], "int64"), numpy.array([2.0, 0.5]), numpy.array([0, 2], "int32")
    )
    assert vectors.tolist() == ROWS[:1]
    nothing = SparseVectors(numpy.array([], "uint32"), numpy.array([], "float32"), [0, 0])
    assert nothing.tolist() == [{}]
    assert SparseVectors(array("I", [4]), [1], (0, 1)).tolist() == [{4: 1.0}]


@pytest.mark.parametrize(
    ("indices", "values", "offsets", "what"),
    [
        ([1, 2], [1.0], [0, 2], "2 indices have 1 values"),
        ([1], [1.0], [0, 2], "from 0 to 1"),
        ([1], [1.0], [], "from 0 to 1"),
        ([1, 2], [1.0, 2.0], [0, 2, 1, 2], "must not fall: 1 after 2"),
        ([-1], [1.0], [0, 1], "the indices"),
        (["a"], [1.0], [0, 1], "the indices"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(indices, values, offsets, what):
    with pytest.raises(ValidationError, match=what):
        SparseVectors(indices, values, offsets)


@pytest.mark.parametrize("index", [-1, 2**32, True, "a", 1.5, None, (1,)])
def test_an_index_that_can_not_be_one_is_refused(index):
    with pytest.raises(ValidationError, match="an index is a whole number from 0"):
        SparseVectors.of([{2: 0.5, index: 1.0}])


@pytest.mark.parametrize("value", ["x", None, [1.0], 10**400])
def test_a_value_that_is_no_number_is_refused(value):
    with pytest.raises(ValidationError, match="the value of index 7 must be a number"):
        SparseVectors.of([{7: value}])


@pytest.mark.parametrize("rows", [[5], [{}, [1, 2]], {1: 0.5}, 5, ["ab"]])
def test_what_is_no_list_of_mappings_is_refused(rows):
    with pytest.raises(ValidationError, match="mapping"):
        SparseVectors.of(rows)


def test_what_can_be_no_index_is_not_in_a_row():
    row = SparseVectors.of(ROWS)[0]
    for key in ("x", None, 2.5, (2,)):
        assert row.get(key, -1.0) == -1.0
        assert key not in row
        with pytest.raises(KeyError):
            row[key]


def test_numbers_of_numpy_are_indices_and_values():
    numpy = pytest.importorskip("numpy")
    row = {numpy.uint32(7): numpy.float32(0.5), numpy.int64(2): numpy.float64(2.0)}
    assert SparseVectors.of([row]).tolist() == ROWS[:1]


def test_dictionaries_that_hold_no_vectors_are_refused():
    sound = SparseVectors.of([{1: 1.0, 2: 2.0}]).to_dict()
    upside_down = SparseVectors([2, 1], [1.0, 1.0], [0, 2]).to_dict()
    with pytest.raises(ValidationError, match="vector 0 must ascend"):
        SparseVectors.from_dict(upside_down)
    with pytest.raises(ValidationError, match=r"SparseVectors\.values"):
        SparseVectors.from_dict(sound | {"values": "AAAA"})
    with pytest.raises(ValidationError, match=r"SparseVectors\.offsets"):
        SparseVectors.from_dict({name: sound[name] for name in ("indices", "values")})
