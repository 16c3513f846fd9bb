"""Echo backends for what is searched with: sparse vectors, token vectors, vectors of pictures."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from blazen.bridge import Job
from blazen.errors import InferenceError
from blazen.protocols.image_embedding import ImageEmbeddingModel, as_images
from blazen.protocols.sparse import SparseEmbeddingModel
from blazen.protocols.token_embedding import TokenEmbeddingModel
from blazen.testing.echo_engine import EchoBackend, EchoEngine
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors, as_texts
from blazen.types.image import Image
from blazen.types.sparse import SparseEmbeddingResponse, SparseVectors
from blazen.types.token_vectors import TokenEmbeddingResponse, TokenVectors

_DIMENSIONS = 16


class EchoSparse(EchoBackend, SparseEmbeddingModel):
    """Sparse vectors that count words; a query has 1 for each of its words."""

    async def embed_sparse(self, texts: str | Sequence[str]) -> SparseEmbeddingResponse:
        """Count the words of each text."""
        return await self._call(_count, as_texts(texts), False, self.options.name)

    async def embed_sparse_query(self, texts: str | Sequence[str]) -> SparseEmbeddingResponse:
        """Note the words of each text."""
        return await self._call(_count, as_texts(texts), True, self.options.name)


class EchoTokens(EchoBackend, TokenEmbeddingModel):
    """A vector of chance for each word, always the same one."""

    async def embed_tokens(self, texts: str | Sequence[str]) -> TokenEmbeddingResponse:
        """Give the vectors of each text's words."""
        return await self._call(_spell, as_texts(texts), self.options.name)


class EchoImageEmbedding(EchoBackend, ImageEmbeddingModel):
    """Vectors that count the bytes of a picture's pixels."""

    async def embed_images(self, images: Any | Sequence[Any]) -> EmbeddingResponse:
        """Count the bytes of each picture."""
        return await self._call(_look, as_images(images), self.options.name)


def _count(
    engine: EchoEngine, job: Job, texts: list[str], is_query: bool, name: str
) -> SparseEmbeddingResponse:
    read = [Counter(_words(text)) for text in texts]
    rows = engine.work(
        job,
        (
            {_index(word): 1.0 if is_query else float(many) for word, many in counts.items()}
            for counts in read
        ),
    )
    vectors = SparseVectors.of(rows)
    usage = EmbeddingUsage(sum(max(1, counts.total()) for counts in read))
    return SparseEmbeddingResponse(_whole(vectors, texts), name, usage)


def _spell(engine: EchoEngine, job: Job, texts: list[str], name: str) -> TokenEmbeddingResponse:
    read = [["", *_words(text)] for text in texts]  # so that the empty text has a vector too
    rows = engine.work(job, ([_chance(word) for word in words] for words in read))
    usage = EmbeddingUsage(sum(map(len, read)))
    return TokenEmbeddingResponse(TokenVectors.of(list(rows)), name, usage)


def _look(engine: EchoEngine, job: Job, images: list[Image], name: str) -> EmbeddingResponse:
    rows = list(engine.work(job, map(_colours, images)))
    return EmbeddingResponse(Vectors.of(rows), name)


def _whole(vectors: SparseVectors, texts: list[str]) -> SparseVectors:
    if len(vectors) != len(texts):
        raise InferenceError("the request was stopped")
    return vectors


def _colours(image: Image) -> list[float]:
    pixels = image.to_pil().convert("RGB").tobytes()
    counts = Counter(place % 3 * 5 + value // 52 for place, value in enumerate(pixels))
    # The size tells apart what has the same colours, and nothing is all zeros.
    return _unit([*(float(counts[place]) for place in range(_DIMENSIONS - 1)), float(image.width)])


def _chance(word: str) -> list[float]:
    return _unit(
        [
            zlib.crc32(f"{place} {word}".encode("utf-8", "replace")) / 2**31 - 1
            for place in range(16)
        ]
    )


def _unit(row: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(number * number for number in row))
    return [number / length for number in row]


def _index(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())
