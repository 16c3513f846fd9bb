"""The options of the backends in this repository, one small dataclass each.

The first field is what a spec names: ``Model.from_spec("xllamacpp:starter:chat")``.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from os import PathLike
from typing import Literal

from blazen.checks import check_choice, check_range
from blazen.errors import ValidationError
from blazen.hardware import Device


@dataclass(frozen=True)
class XllamaCppOptions:
    """llama.cpp's server engine in process: GGUF models, on the CPU or a GPU."""

    model_id: str | PathLike[str]
    """A GGUF file: a path, a hub id with a file, a URL, or ``starter:chat``."""
    _: KW_ONLY
    device: Device | str = "auto"
    context_length: int | None = None
    """How many tokens a conversation may have; ``None``: the model's own, at most 4,096."""
    parallel: int = 1
    """How many requests are answered at once, each with a context of its own."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        _check_target("model_id", self.model_id)
        Device.parse(self.device)
        check_range("context_length", self.context_length, at_least=16, integer=True)
        check_range("parallel", self.parallel, at_least=1, at_most=256, integer=True)
        check_range("threads", self.threads, at_least=1, integer=True)


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
    pooling: Literal["mean", "cls"] | None = None
    """How a folder's token vectors become one; ``None`` reads it from the folder, else ``mean``."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        _check_target("model_name", self.model_name)
        Device.parse(self.device)
        check_range("max_batch_size", self.max_batch_size, at_least=1, integer=True)
        check_range("max_length", self.max_length, at_least=1, integer=True)
        check_choice("pooling", self.pooling, ("mean", "cls", None))
        check_range("threads", self.threads, at_least=1, integer=True)


def _check_target(name: str, value: object) -> None:
    if not isinstance(value, (str, PathLike)) or not str(value).strip():
        raise ValidationError(f"{name} must be a path, a hub id, a URL or a starter, not {value!r}")
