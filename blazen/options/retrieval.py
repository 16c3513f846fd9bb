"""Options of the models that search: sparse, late interaction, images, reranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from os import PathLike

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.hardware import Device
from blazen.options.checks import check_place, check_target
from blazen.options.isolation import Isolated


@dataclass(frozen=True)
class SparseOptions:
    """Sparse text embeddings through fastembed: BM25, SPLADE and what lies between."""

    model_name: str | PathLike[str] = "Qdrant/bm25"
    """A known model, a hub id or a folder; fastembed's own list has the names."""
    _: KW_ONLY
    like: str | None = None
    """For a folder: the known model that it is built like; ``None`` tells it from its files."""
    device: Device | str = "cpu"
    max_batch_size: int = 32
    """How many texts are read in one go, at the most."""
    max_length: int | None = None
    """How many tokens of a text are read; ``None`` takes the model's own."""
    language: str | None = None
    """BM25: whose stems and stop words are used, such as ``german``; ``None`` is English."""
    stop_words: Sequence[str] | None = None
    """BM25: words that do not count; ``None`` fetches the language's list, once."""
    average_length: float | None = None
    """BM25 and miniCOIL: how many words a document has on average; ``None``: fastembed's guess."""
    k: float | None = None
    """BM25 and miniCOIL: how soon a word that comes again stops counting; ``None``: 1.2."""
    b: float | None = None
    """BM25 and miniCOIL: how much a long document is held back, from 0 to 1; ``None``: 0.75."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check(self)
        check_range("max_length", self.max_length, at_least=1, integer=True)
        _check_name("language", self.language)
        check_range("average_length", self.average_length, at_least=1)
        check_range("k", self.k, at_least=0)
        check_range("b", self.b, at_least=0, at_most=1)
        if self.stop_words is not None:
            words = self.stop_words
            if isinstance(words, str) or not all(isinstance(word, str) for word in words):
                raise ValidationError(f"stop_words is a list of words, not {words!r:.80}")
            object.__setattr__(self, "stop_words", tuple(words))


@dataclass(frozen=True)
class TokenEmbedOptions:
    """Late interaction embeddings through ONNX Runtime: ColBERT and its kin."""

    model_name: str | PathLike[str] = "answerdotai/answerai-colbert-small-v1"
    """A known model, a hub id or a folder; fastembed's own list has the names."""
    _: KW_ONLY
    like: str | None = None
    """For a folder: the known model that it is built like; ``None`` is ``colbert-ir/colbertv2.0``.

    It settles which tokens mark queries and documents, and how queries are filled up.
    """
    device: Device | str = "cpu"
    max_batch_size: int = 32
    """How many texts are read in one go, at the most."""
    max_length: int | None = None
    """How many tokens of a text are read, its marks among them; ``None`` takes the model's own."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check(self)
        check_range("max_length", self.max_length, at_least=1, integer=True)


@dataclass(frozen=True)
class ImageEmbedOptions:
    """Image embeddings through ONNX Runtime: CLIP's half for pictures, and others."""

    model_name: str | PathLike[str] = "Qdrant/clip-ViT-B-32-vision"
    """A known model, a hub id or a folder; fastembed's own list has the names."""
    _: KW_ONLY
    like: str | None = None
    """For a folder: the known model that it is built like; ``None`` takes its first output."""
    device: Device | str = "cpu"
    max_batch_size: int = 16
    """How many pictures are read in one go, at the most."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class RerankOptions:
    """Reranking with a cross-encoder through ONNX Runtime."""

    model_name: str | PathLike[str] = "Xenova/ms-marco-MiniLM-L-6-v2"
    """A known model, a hub id or a folder; fastembed's own list has the names."""
    _: KW_ONLY
    device: Device | str = "cpu"
    max_batch_size: int = 32
    """How many documents are read in one go, at the most."""
    max_length: int | None = None
    """How many tokens a query and a document may have together; ``None``: the model's own."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check(self)
        check_range("max_length", self.max_length, at_least=1, integer=True)


def _check(options: SparseOptions | TokenEmbedOptions | ImageEmbedOptions | RerankOptions) -> None:
    check_target("model_name", options.model_name)
    check_range("max_batch_size", options.max_batch_size, at_least=1, integer=True)
    check_place(options.device, options.threads)
    if not isinstance(options, RerankOptions):
        _check_name("like", options.like)


def _check_name(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValidationError(f"{name} must be a name, not {value!r:.80}")
