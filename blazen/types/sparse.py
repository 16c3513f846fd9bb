"""Sparse vectors: few numbers, each at a place of its own among very many."""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from blazen.errors import ValidationError
from blazen.types.buffers import check_offsets, from_base64, to_base64, typed
from blazen.types.embedding import EmbeddingUsage
from blazen.types.record import Record
from blazen.types.route import Route

_LARGEST = 2**32 - 1


class SparseRow(Mapping[int, float]):
    """One sparse vector: from an index to its value, the indices ascending.

    What it does not hold is 0. ``indices`` and ``weights`` are views, for NumPy or a database.
    """

    __slots__ = ("indices", "weights")

    def __init__(self, indices: memoryview[int], values: memoryview[float]) -> None:
        self.indices = indices
        """Ascending whole numbers of 32 bits."""
        self.weights = values
        """The floats, each at the place of its index."""

    def __getitem__(self, index: int) -> float:
        try:
            place = bisect_left(self.indices, index)
        except TypeError as error:  # it is no number, and so no key
            raise KeyError(index) from error
        if place == len(self.indices) or self.indices[place] != index:
            raise KeyError(index)
        return self.weights[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        shown = ", ".join(f"{index}: {self[index]:.4g}" for index in self.indices[:8])
        return f"SparseRow({{{shown}{', ...' if len(self) > 8 else ''}}})"

    def dot(self, other: Mapping[int, float]) -> float:
        """Give the sum of the products where both have a value."""
        get = other.get
        pairs = zip(self.indices, self.weights, strict=True)
        return math.fsum(value * get(index, 0.0) for index, value in pairs)


class SparseVectors(Sequence[SparseRow]):
    """A list of sparse vectors in three buffers, as in a CSR matrix.

    Each item is a mapping from index to value. The values of row ``i`` are those from
    ``offsets[i]`` to ``offsets[i + 1]``, and
    ``scipy.sparse.csr_matrix((vectors.values, vectors.indices, vectors.offsets))`` is the matrix.
    """

    kind = "sparse_vectors"

    def __init__(self, indices: Any, values: Any, offsets: Any) -> None:
        """Hold buffers of 32-bit whole numbers, 32-bit floats and 64-bit offsets.

        In each row the indices must be ascending; `of` sees to that.
        """
        self.indices = typed("I", indices, "the indices of sparse vectors")
        self.values = typed("f", values, "the values of sparse vectors")
        self.offsets = typed("q", offsets, "the offsets of sparse vectors")
        if len(self.indices) != len(self.values):
            raise ValidationError(f"{len(self.indices)} indices have {len(self.values)} values")
        check_offsets(self.offsets, len(self.values), "sparse vectors")

    @classmethod
    def of(cls, rows: Iterable[Mapping[int, float]]) -> SparseVectors:
        """Make sparse vectors of mappings from index to value."""
        if isinstance(rows, SparseVectors):
            return rows
        indices, values, offsets = array("I"), array("f"), array("q", [0])
        if not isinstance(rows, Iterable):
            raise ValidationError(f"sparse vectors come as mappings in a list, not {rows!r:.80}")
        for place, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise ValidationError(
                    f"sparse vector {place} must be a mapping from index to value, not {row!r:.80}"
                )
            found = {_index(index): value for index, value in row.items()}
            for index in sorted(found):
                indices.append(index)
                values.append(_number(found[index], index))
            offsets.append(len(indices))
        return cls(indices, values, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> SparseRow: ...
    @overload
    def __getitem__(self, index: slice) -> SparseVectors: ...
    def __getitem__(self, index: int | slice) -> SparseRow | SparseVectors:
        if isinstance(index, slice):
            return SparseVectors.of([self[row] for row in range(*index.indices(len(self)))])
        row = range(len(self))[index]
        start, end = self.offsets[row], self.offsets[row + 1]
        return SparseRow(self.indices[start:end], self.values[start:end])

    def __iter__(self) -> Iterator[SparseRow]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVectors):
            return NotImplemented
        return (self.indices, self.values, self.offsets) == (
            other.indices,
            other.values,
            other.offsets,
        )

    def __hash__(self) -> int:
        return hash((bytes(self.indices), bytes(self.values), bytes(self.offsets)))

    def __repr__(self) -> str:
        return f"SparseVectors({len(self)} with {len(self.values)} values)"

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseVectors, (
            array("I", self.indices),
            array("f", self.values),
            array("q", self.offsets),
        )

    def dot(self, query: Mapping[int, float]) -> list[float]:
        """Give how well each row matches a query: the sum of the products of their values."""
        wanted = dict(query)  # a row looks an index up by halving, a dictionary at once
        return [row.dot(wanted) for row in self]

    def rarity(self) -> dict[int, float]:
        """Give for each index how much its presence tells: BM25's inverse document frequency.

        BM25 and what follows it leave this part to whoever holds all documents. Give a query
        through it: ``{index: rarity.get(index, 0) * value for index, value in query.items()}``.
        """
        rows: dict[int, int] = {}
        for index in self.indices:
            rows[index] = rows.get(index, 0) + 1
        every = len(self)
        return {
            index: math.log((every - count + 0.5) / (count + 0.5) + 1)
            for index, count in rows.items()
        }

    def tolist(self) -> list[dict[int, float]]:
        """Give dictionaries of Python numbers."""
        return [dict(row) for row in self]

    def to_dict(self) -> dict[str, Any]:
        """Give the buffers as base64 of little-endian bytes."""
        return {
            "kind": self.kind,
            "indices": to_base64(self.indices),
            "values": to_base64(self.values),
            "offsets": to_base64(self.offsets),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SparseVectors:
        """Build sparse vectors from what ``to_dict`` gave."""
        vectors = cls(
            from_base64("I", data, "indices", "SparseVectors"),
            from_base64("f", data, "values", "SparseVectors"),
            from_base64("q", data, "offsets", "SparseVectors"),
        )
        for place, row in enumerate(vectors):
            if any(one >= two for one, two in zip(row.indices, row.indices[1:], strict=False)):
                raise ValidationError(f"the indices of sparse vector {place} must ascend")
        return vectors


def _index(value: Any) -> int:
    try:
        index = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        index = -1
    if not 0 <= index <= _LARGEST:
        raise ValidationError(f"an index is a whole number from 0 to {_LARGEST}, not {value!r:.80}")
    return index


def _number(value: Any, index: int) -> float:
    try:
        return math.fsum((value,))
    except (TypeError, OverflowError) as error:
        raise ValidationError(
            f"the value of index {index} must be a number, not {value!r:.80}"
        ) from error


@dataclass(frozen=True)
class SparseEmbeddingResponse(Record):
    """A sparse vector for each text, in order."""

    embeddings: SparseVectors
    model: str = ""
    usage: EmbeddingUsage | None = None
    needs_rarity: bool = False
    """Whether a query's values are still to be multiplied by how rare each index is."""
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""
