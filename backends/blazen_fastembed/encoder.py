"""A loaded model: texts into tokens, and tokens into vectors, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from blazen.errors import InferenceError, LoadError, UnsupportedError, ValidationError
from blazen.types.embedding import EmbeddingRecipe
from blazen_fastembed.characters import check_texts
from blazen_fastembed.pooling import Pooling
from blazen_fastembed.prefixes import Prefixes
from blazen_fastembed.size import Limits, Shape

_KNOWN_POOLING = {
    "OnnxTextEmbedding": "cls",
    "PooledEmbedding": "mean",
    "LastTokenNormalizedEmbedding": "last",
    "StaticTextEmbedding": "mean",
}
"""How fastembed's classes pool; what is not named here or built on these is left to the model."""
_OWN_POOLING = ("BuiltinSentenceEmbedding", "CLIPOnnxEmbedding", "SiglipOnnxTextEmbedding")


@dataclass(frozen=True)
class Piece:
    """The tokens of a text, or of a part of one that is too long."""

    place: int
    """Which text of its call it is."""
    share: float
    """How much of the text's tokens it has: 1 for all."""
    text: str
    ids: Sequence[int]

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self.ids)


@dataclass
class Read:
    """Texts that were cut into tokens."""

    pieces: list[Piece] = field(default_factory=list)
    tokens: int = 0
    truncated: int = 0
    split: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Filled:
    """What fastembed wants of a tokenizer's encoding."""

    ids: Sequence[int]
    attention_mask: Sequence[int]


class Encoder:
    """fastembed's model, driven so that each text is tokenised once and filled up to its like."""

    def __init__(
        self,
        model: Any,
        *,
        title: str,
        file: str,
        shape: Shape,
        limits: Limits,
        prefixes: Prefixes,
        pooling: Pooling | None,
        long_texts: Literal["truncate", "average"],
        threads: int,
    ) -> None:
        self.title, self.shape, self.limits = title, shape, limits
        self._model, self._pooling, self._prefixes = model, pooling, prefixes
        self._file, self._long_texts, self._threads = file, long_texts, threads
        self._tokenizer = model.tokenizer
        self._is_static = not hasattr(model, "onnx_embed")
        if self._is_static and long_texts == "average":
            raise UnsupportedError(f"{title} reads no tokens in order: leave long_texts= out")
        self.has_tasks = hasattr(model, "QUERY_TASK")
        """Whether queries and passages go through different weights, and so never together."""
        self._padding = dict(self._tokenizer.padding or {})
        self._tokenizer.no_padding()
        if not self._is_static:
            # Whatever fastembed is given to embed has been through the tokenizer already.
            model.tokenize = lambda documents, **_: documents
        if pooling is not None:
            model.ONNX_OUTPUT_NAMES = [pooling.output]
        self.normalized = self._try()
        self._recipes = {query: self._recipe(query) for query in (False, True)}

    def read(self, texts: Sequence[str], first: int, *, query: bool) -> Read:
        """Cut texts into tokens; ``first`` is the place of the first one in its call."""
        prefix = self._prefixes.query if query else self._prefixes.passage
        full = [prefix + text for text in texts] if prefix else list(texts)
        check_texts(texts, first)
        read = Read()
        encodings = self._encoded(full)
        for place, (text, encoding) in enumerate(zip(full, encodings, strict=True), first):
            parts, rest = [encoding.ids], encoding.overflowing
            if rest and self._long_texts == "average":
                parts = self._parts(text, prefix) if prefix else [*parts, *(it.ids for it in rest)]
                read.split.add(place)
            read.truncated += bool(rest) and len(parts) == 1
            total = sum(map(len, parts))
            read.tokens += total
            for ids in parts:
                read.pieces.append(Piece(place, len(ids) / total if total else 1, text, ids))
        return read

    def _encoded(self, texts: Sequence[str]) -> Iterator[Any]:
        # The tokenizer spreads what comes together over all cores, whatever was asked for.
        together = 1 if self._threads == 1 else max(1, len(texts))
        for at in range(0, len(texts), together):
            yield from self._tokenizer.encode_batch_fast(
                texts[at : at + together], add_special_tokens=not self._is_static
            )

    def _parts(self, text: str, prefix: str) -> list[list[int]]:
        """Cut the tokens of a long text so that its prefix stands before each part.

        The text has the prefix already; a token that is partly the text's is the text's.
        """
        encoding = self._tokenizer.encode(text)
        windows = [encoding, *encoding.overflowing]
        if self._tokenizer.truncation["direction"] == "left":
            windows.reverse()
        marks = encoding.special_tokens_mask
        start = marks.index(0)
        end = len(marks) - marks[::-1].index(0)
        opening, closing = encoding.ids[:start], encoding.ids[end:]
        tokens = [
            (token, place[1])
            for window in windows
            for token, place, mark in zip(
                window.ids, window.offsets, window.special_tokens_mask, strict=True
            )
            if not mark
        ]
        ids = [token for token, _ in tokens]
        before = next(
            (at for at, (_, stop) in enumerate(tokens) if stop > len(prefix)), len(tokens)
        )
        room = self.max_length - len(opening) - before - len(closing)
        if room < 1:
            raise ValidationError(
                f"max_length is {self.max_length}, and the prefix {prefix!r:.80} leaves no room "
                "for the text: raise the one or shorten the other"
            )
        opening += ids[:before]
        return [[*opening, *ids[at : at + room], *closing] for at in range(before, len(ids), room)]

    def vectors(self, pieces: Sequence[Piece], *, query: bool) -> Any:
        """Give a vector for each piece, of one pass through the model."""
        import numpy

        if self._is_static:
            found = list(self._model.embed([piece.text for piece in pieces]))
        else:
            filled = self._filled(pieces)
            if self._pooling is None:
                task = {}
                if self.has_tasks:
                    model = self._model
                    task["task_id"] = model.QUERY_TASK if query else model.PASSAGE_TASK
                found = list(self._model.embed(filled, batch_size=len(filled), **task))
            else:
                output = self._model.onnx_embed(filled)
                found = self._pooling.pooled(output.model_output, output.attention_mask)
        vectors = numpy.asarray(found, dtype="float32")
        if not numpy.isfinite(vectors).all():
            raise InferenceError(
                f"{self.title} gave numbers that are not finite: its weights are broken"
            )
        return vectors

    def recipe(self, *, query: bool) -> EmbeddingRecipe:
        """Say how the vectors come about."""
        return self._recipes[query]

    def _recipe(self, query: bool) -> EmbeddingRecipe:
        return EmbeddingRecipe(
            pooling=self._way(),
            normalized=self.normalized,
            prefix=self._prefixes.query if query else self._prefixes.passage,
            max_length=self.max_length,
            long_texts=self._long_texts,
            file=self._file,
            versions=_versions(),
        )

    @property
    def max_length(self) -> int:
        """How many tokens of a text it reads."""
        longest: int = self._tokenizer.truncation["max_length"]
        return longest

    def _filled(self, pieces: Sequence[Piece]) -> list[_Filled]:
        padding = self._padding
        longest = max(1, *(piece.length for piece in pieces))
        multiple = padding.get("pad_to_multiple_of") or 1
        # Some models are trained on texts that are all filled up to one length.
        target = padding.get("length") or -(-longest // multiple) * multiple
        rows = []
        for piece in pieces:
            ids = list(piece.ids) or [padding.get("pad_id", 0)]
            gap = target - len(ids)
            fill, mask = [padding.get("pad_id", 0)] * gap, [1] * len(ids)
            if padding.get("direction") == "left":
                rows.append(_Filled(fill + ids, [0] * gap + mask))
            else:
                rows.append(_Filled(ids + fill, mask + [0] * gap))
        return rows

    def _way(self) -> str:
        if self._pooling is not None:
            return self._pooling.way
        kinds = [kind.__name__ for kind in type(self._model).__mro__]
        if set(kinds) & set(_OWN_POOLING):
            return "model"
        return next((_KNOWN_POOLING[kind] for kind in kinds if kind in _KNOWN_POOLING), "model")

    def _try(self) -> bool:
        """Read one text, so that a broken model fails as it loads; say if vectors have length 1."""
        import numpy

        try:
            (vector,) = self.vectors(self.read(["a heron"], 0, query=False).pieces, query=False)
        except ValidationError:  # a setting leaves no room for any text
            raise
        except Exception as error:
            raise LoadError(f"{self.title} can't read a text: {error}") from error
        return abs(float(numpy.linalg.norm(vector)) - 1) < 1e-3


def _versions() -> tuple[str, ...]:
    import fastembed
    import onnxruntime
    import tokenizers

    modules = (fastembed, onnxruntime, tokenizers)
    return tuple(f"{module.__name__} {module.__version__}" for module in modules)
