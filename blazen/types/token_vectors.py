"""A vector for each token of a text, for models that compare texts token by token."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from blazen.errors import ValidationError
from blazen.types.buffers import check_offsets, from_base64, to_base64, typed
from blazen.types.embedding import EmbeddingUsage, Vectors
from blazen.types.record import Record, decode
from blazen.types.route import Route


class TokenVectors(Sequence[Vectors]):
    """A matrix for each text, a row for each of its tokens, all in one piece of memory.

    Each item is a `Vectors`, a view; ``numpy.asarray(item)`` is the matrix, without a copy.
    """

    kind = "token_vectors"

    def __init__(self, values: Any, offsets: Any, dimensions: int) -> None:
        """Hold a buffer of 32-bit floats, row after row.

        The rows of text ``i`` are those from ``offsets[i]`` to ``offsets[i + 1]``.
        """
        self._flat: memoryview[float] = typed("f", values, "token vectors")
        if dimensions < 1 or len(self._flat) % dimensions:
            raise ValidationError(f"{len(self._flat)} numbers are no vectors of {dimensions}")
        self.dimensions = dimensions
        self.offsets: memoryview[int] = typed("q", offsets, "the offsets of token vectors")
        check_offsets(self.offsets, len(self._flat) // dimensions, "token vectors")

    @classmethod
    def of(cls, matrices: Any) -> TokenVectors:
        """Make them of a matrix for each text: 2-D arrays, or lists of lists of numbers."""
        if isinstance(matrices, TokenVectors):
            return matrices
        flat, offsets, widths = array("f"), array("q", [0]), set[int]()
        for matrix in matrices:
            if len(matrix):
                vectors = Vectors.of(matrix)
                for row in vectors:
                    flat.frombytes(row.tobytes())
                widths.add(vectors.dimensions)
            offsets.append(offsets[-1] + len(matrix))
        if len(widths) != 1:
            raise ValidationError(f"token vectors must be of one length, not {sorted(widths)}")
        return cls(flat, offsets, widths.pop())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Vectors: ...
    @overload
    def __getitem__(self, index: slice) -> TokenVectors: ...
    def __getitem__(self, index: int | slice) -> Vectors | TokenVectors:
        if isinstance(index, slice):
            flat, offsets = array("f"), array("q", [0])
            for row in range(*index.indices(len(self))):
                part = self._rows(row)
                flat.frombytes(part.tobytes())
                offsets.append(offsets[-1] + len(part) // self.dimensions)
            return TokenVectors(flat, offsets, self.dimensions)
        return Vectors(self._rows(range(len(self))[index]), self.dimensions)

    def _rows(self, index: int) -> memoryview[float]:
        start, end = self.offsets[index], self.offsets[index + 1]
        return self._flat[start * self.dimensions : end * self.dimensions]

    def __iter__(self) -> Iterator[Vectors]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenVectors):
            return NotImplemented
        return (self.dimensions, self.offsets, self._flat) == (
            other.dimensions,
            other.offsets,
            other._flat,
        )

    def __hash__(self) -> int:
        return hash((self.dimensions, bytes(self.offsets), bytes(self._flat)))

    def __repr__(self) -> str:
        return (
            f"TokenVectors({len(self)} texts, {self.offsets[-1]} vectors of "
            f"{self.dimensions} dimensions)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenVectors, (
            array("f", self._flat),
            array("q", self.offsets),
            self.dimensions,
        )

    def scores(self, query: Vectors) -> list[float]:
        """Give how well each text matches a query, by `score`."""
        return [score(query, document) for document in self]

    def to_dict(self) -> dict[str, Any]:
        """Give the numbers as base64 of little-endian bytes."""
        return {
            "kind": self.kind,
            "dimensions": self.dimensions,
            "offsets": to_base64(self.offsets),
            "values": to_base64(self._flat),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TokenVectors:
        """Build token vectors from what ``to_dict`` gave."""
        return cls(
            from_base64("f", data, "values", "TokenVectors"),
            from_base64("q", data, "offsets", "TokenVectors"),
            decode(int, data.get("dimensions"), "TokenVectors.dimensions"),
        )


def score(query: Vectors, document: Vectors) -> float:
    """Give how well a document matches a query: MaxSim.

    Each of the query's vectors finds the document's vector that is most like it; what is given is
    the sum of these likenesses.
    """
    if query.dimensions != document.dimensions:
        raise ValidationError(
            f"the query has vectors of {query.dimensions} dimensions, the document of "
            f"{document.dimensions}: they are of different models"
        )
    if not len(query) or not len(document):
        return 0.0
    try:
        import numpy
    except ModuleNotFoundError:
        return math.fsum(max(_dot(mine, other) for other in document) for mine in query)
    products = numpy.asarray(query) @ numpy.asarray(document).T
    return float(products.max(axis=1).sum(dtype="float64"))


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class TokenEmbeddingResponse(Record):
    """A vector for each token of each text, in order."""

    embeddings: TokenVectors
    model: str = ""
    usage: EmbeddingUsage | None = None
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""

    @property
    def dimensions(self) -> int:
        """How long each vector is."""
        return self.embeddings.dimensions
