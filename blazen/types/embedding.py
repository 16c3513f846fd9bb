"""Vectors, and the answer that carries them."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from blazen.errors import ValidationError
from blazen.types.record import Record, decode
from blazen.types.route import Route
from blazen.types.stream import Stream

if TYPE_CHECKING:
    import numpy

    Row: TypeAlias = memoryview[float]
else:
    Row = memoryview


class Vectors(Sequence[Row]):
    """A list of vectors of 32-bit floats in one piece of memory.

    Each item is a view of floats: it has a length, indexes, iterates. ``numpy.asarray(vectors)`` is
    the matrix, without a copy.
    """

    kind = "vectors"

    def __init__(self, values: Any, dimensions: int) -> None:
        """Hold a buffer of floats, row after row."""
        flat: Row = memoryview(values).cast("B").cast("f")
        if dimensions < 1 or len(flat) % dimensions:
            raise ValidationError(f"{len(flat)} numbers are no vectors of {dimensions}")
        self._flat = flat.toreadonly()
        self.dimensions = dimensions

    @classmethod
    def of(cls, rows: Any) -> Vectors:
        """Make vectors of a matrix (anything with a 2-D float buffer) or of lists of numbers."""
        if isinstance(rows, Vectors):
            return rows
        if hasattr(rows, "astype"):  # a NumPy array, without importing NumPy
            if rows.ndim != 2:
                raise ValidationError(f"vectors come as a matrix, not in {rows.ndim} dimensions")
            return cls(rows.astype("float32", order="C", copy=False), int(rows.shape[1]))
        lists: list[Iterable[float]] = list(rows)
        flat = array("f")
        lengths = set()
        for row in lists:
            before = len(flat)
            flat.extend(row)
            lengths.add(len(flat) - before)
        if len(lengths) != 1:
            raise ValidationError(f"vectors must be of one length, not {sorted(lengths)}")
        return cls(flat, lengths.pop())

    def __len__(self) -> int:
        return len(self._flat) // self.dimensions

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Vectors: ...
    def __getitem__(self, index: int | slice) -> Row | Vectors:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                stop = max(start, stop)
                return Vectors(
                    self._flat[start * self.dimensions : stop * self.dimensions], self.dimensions
                )
            picked = array("f")
            for row in range(start, stop, step):
                picked.extend(self[row])
            return Vectors(picked, self.dimensions)
        row = range(len(self))[index]
        return self._flat[row * self.dimensions : (row + 1) * self.dimensions]

    def __iter__(self) -> Iterator[Row]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vectors):
            return NotImplemented
        return self.dimensions == other.dimensions and self._flat == other._flat

    def __hash__(self) -> int:
        return hash((self.dimensions, bytes(self._flat)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.ndarray[Any, Any]:
        import numpy

        matrix = numpy.asarray(self._flat, dtype="float32").reshape(-1, self.dimensions)
        return matrix.astype(dtype, copy=bool(copy)) if dtype or copy else matrix

    def __repr__(self) -> str:
        return f"Vectors({len(self)} of {self.dimensions} dimensions)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Vectors, (bytes(self._flat), self.dimensions)

    def tolist(self) -> list[list[float]]:
        """Give lists of Python numbers."""
        return [list(row) for row in self]

    def to_dict(self) -> dict[str, Any]:
        """Give the floats as base64 of little-endian bytes."""
        values = base64.b64encode(_little_endian(bytes(self._flat))).decode("ascii")
        return {"kind": self.kind, "dimensions": self.dimensions, "values": values}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Vectors:
        """Build vectors from what ``to_dict`` gave."""
        dimensions = decode(int, data.get("dimensions"), "Vectors.dimensions")
        values = decode(bytes, data.get("values"), "Vectors.values")
        return cls(_little_endian(values), dimensions)


def _little_endian(raw: bytes) -> bytes:
    import sys

    if sys.byteorder == "little":
        return raw
    swapped = array("f", raw)
    swapped.byteswap()
    return swapped.tobytes()


@dataclass(frozen=True)
class EmbeddingUsage(Record):
    """How many tokens were embedded."""

    tokens: int
    truncated: int = 0
    """How many texts were longer than the model reads, and lost their end."""
    cost: float | None = None
    """What a provider takes for it, in US dollars; ``None`` where the price is not known."""


@dataclass(frozen=True)
class EmbeddingRecipe(Record):
    """How vectors were made. Keep it beside vectors that are kept: two recipes may not compare."""

    pooling: str
    """How the vectors of a text's tokens became one; ``model``: the model itself did that."""
    normalized: bool
    """Whether the vectors have length 1."""
    prefix: str = ""
    """What was put before each text. Queries and passages may differ in it, and compare."""
    max_length: int | None = None
    """How many tokens of a text were read at the most."""
    long_texts: str = "truncate"
    """What was done with a text that had more."""
    file: str = ""
    """Which of a model's files the weights came from."""
    versions: tuple[str, ...] = ()
    """The packages that did it, with their versions."""


@dataclass(frozen=True)
class EmbeddingResponse(Record):
    """A vector for each text, in order."""

    embeddings: Vectors
    model: str = ""
    usage: EmbeddingUsage | None = None
    recipe: EmbeddingRecipe | None = None
    """How the vectors were made, where the backend tells."""
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""

    @property
    def dimensions(self) -> int:
        """How long each vector is."""
        return self.embeddings.dimensions


class EmbeddingStream(Stream[EmbeddingResponse, EmbeddingUsage]):
    """Vectors of any number of texts: each piece is the answer for the next few, in order.

    Nothing but the usage is kept, so that memory does not grow with the number of texts.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._usage = EmbeddingUsage(0)
        self._cost: float | None = 0.0

    def _add(self, piece: EmbeddingResponse) -> None:
        if piece.usage is not None:
            self._cost = _sum(self._cost, piece.usage.cost)
            self._usage = EmbeddingUsage(
                self._usage.tokens + piece.usage.tokens,
                self._usage.truncated + piece.usage.truncated,
                self._cost,
            )

    @property
    def response(self) -> EmbeddingUsage:
        """How much was embedded so far."""
        return self._usage


def _sum(one: float | None, other: float | None) -> float | None:
    # What is not known of a part is not known of the whole.
    return None if one is None or other is None else one + other


def as_texts(texts: str | Sequence[str]) -> list[str]:
    """Give a checked list of texts; a single one becomes a list of one."""
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Sequence) or isinstance(texts, (bytes, bytearray)):
        raise ValidationError(f"embed takes a text or a list of texts, not {texts!r:.80}")
    if not texts:
        raise ValidationError("there is nothing to embed: the list of texts is empty")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValidationError(f"texts[{index}] must be a text, not {text!r:.80}")
    return list(texts)
