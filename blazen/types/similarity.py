"""How alike vectors are."""

from __future__ import annotations

from math import sqrt

from blazen.types.embedding import Vectors


def similarities(vectors: Vectors, others: Vectors | None = None) -> list[list[float]]:
    """Give the cosine of each vector with each of the others, or with each of their own.

    1 is the same direction, 0 has nothing in common. A vector of zeros is like nothing.
    """
    if others is None:
        others = vectors
    lengths = [_length(row) for row in others]
    return [
        [
            _dot(row, other) / (own * length) if own and length else 0.0
            for other, length in zip(others, lengths, strict=True)
        ]
        for row, own in ((row, _length(row)) for row in vectors)
    ]


def _dot(one: memoryview[float], other: memoryview[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _length(row: memoryview[float]) -> float:
    return sqrt(_dot(row, row))
