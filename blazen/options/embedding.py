"""Options of the engines that embed and rerank."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from os import PathLike
from typing import Literal

from blazen.checks import check_choice, check_range, check_texts
from blazen.hardware import Device
from blazen.options.checks import check_layers, check_place, check_target
from blazen.options.isolation import Isolated
from blazen.weights.quantization import Quantization, check_quantization


@dataclass(frozen=True)
class GgufEmbedOptions:
    """Embeddings of a GGUF model through llama.cpp."""

    model_id: str | PathLike[str]
    """A GGUF file: a path, a hub id, a URL, or a starter."""
    _: KW_ONLY
    file: str | None = None
    quantization: Quantization | str | None = None
    device: Device | str = "auto"
    max_length: int | None = None
    """How many tokens a text may have; ``None`` takes the model's own."""
    pooling: Literal["mean", "cls", "last"] | None = None
    """How token vectors become one; ``None`` reads it from the file, and needs it there."""
    threads: int | None = None
    gpu_layers: int | Literal["auto"] = "auto"
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check_encoder(self)
        check_choice("pooling", self.pooling, ("mean", "cls", "last", None))


@dataclass(frozen=True)
class GgufRerankOptions:
    """Reranking with a GGUF model through llama.cpp."""

    model_id: str | PathLike[str]
    """A GGUF file: a path, a hub id or a URL."""
    _: KW_ONLY
    file: str | None = None
    quantization: Quantization | str | None = None
    device: Device | str = "auto"
    max_length: int | None = None
    """How many tokens a query and a document may have together; ``None``: the model's own."""
    threads: int | None = None
    gpu_layers: int | Literal["auto"] = "auto"
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check_encoder(self)


@dataclass(frozen=True)
class EmbedOptions:
    """Text embeddings through ONNX Runtime."""

    model_name: str | PathLike[str] = "BGESmallENV15"
    """A known model (``BGESmallENV15``, ``BAAI/bge-small-en-v1.5``), a folder, a starter."""
    _: KW_ONLY
    device: Device | str = "cpu"
    max_batch_size: int = 32
    """How many texts are embedded in one go, at the most."""
    max_length: int | None = None
    """How many tokens of a text are read; ``None`` takes the model's own."""
    long_texts: Literal["truncate", "average"] = "truncate"
    """What is done with a text that has more tokens: cut its end off, or read it in pieces and take
    the mean of their vectors."""
    pooling: Literal["mean", "cls", "last"] | None = None
    """How a folder's token vectors become one; ``None`` reads it from the folder, else ``mean``."""
    query_prefix: str | None = None
    """What `embed_query` puts before each text; ``None`` takes the model's own, "" nothing."""
    passage_prefix: str | None = None
    """What `embed` puts before each text; ``None`` takes the model's own, "" nothing."""
    file: str | None = None
    """Which ONNX file of a folder or repository to take; ``None`` finds it."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        check_target("model_name", self.model_name)
        check_range("max_batch_size", self.max_batch_size, at_least=1, integer=True)
        check_range("max_length", self.max_length, at_least=1, integer=True)
        check_choice("long_texts", self.long_texts, ("truncate", "average"))
        check_choice("pooling", self.pooling, ("mean", "cls", "last", None))
        check_texts(
            query_prefix=self.query_prefix, passage_prefix=self.passage_prefix, file=self.file
        )
        check_place(self.device, self.threads)


def _check_encoder(options: GgufEmbedOptions | GgufRerankOptions) -> None:
    check_target("model_id", options.model_id)
    check_quantization(options.quantization)
    check_place(options.device, options.threads)
    check_range("max_length", options.max_length, at_least=1, integer=True)
    check_layers(options.gpu_layers)
