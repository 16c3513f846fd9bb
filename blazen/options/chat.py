"""Options of the chat engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from os import PathLike
from typing import Any, Literal

from blazen.checks import check_choice, check_range, parse_bytes
from blazen.errors import ValidationError
from blazen.hardware import Device
from blazen.options.checks import check_layers, check_place, check_target
from blazen.options.isolation import Isolated
from blazen.types.record import Record
from blazen.weights.quantization import KV_TYPES, Quantization, check_quantization


@dataclass(frozen=True)
class LoraAdapter(Record):
    """A LoRA adapter, and how strongly it is applied."""

    path: str | PathLike[str]
    """A path, a hub id with a file, or a URL."""
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_target("the path of an adapter", self.path)
        check_range("an adapter's scale", self.scale)


@dataclass(frozen=True)
class GgufOptions:
    """What both backends on llama.cpp take for a chat model."""

    model_id: str | PathLike[str]
    """A GGUF file: a path, a hub id, a URL, or ``starter:chat``."""
    _: KW_ONLY
    file: str | None = None
    """The file inside a folder or a hub repository that holds several."""
    quantization: Quantization | str | None = None
    """Which of a repository's files to take, by how its weights are stored."""
    memory_budget: int | str | None = None
    """Take the best of a repository's files that fits, context included: ``"6GiB"``."""
    device: Device | str = "auto"
    context_length: int | None = None
    """How many tokens a conversation may have; ``None``: the model's own, at most 4,096."""
    parallel: int = 1
    """How many requests are answered at once."""
    threads: int | None = None
    batch_size: int = 256
    """Tokens of a prompt that are read in one go; between two of them others get their turn."""
    gpu_layers: int | Literal["auto"] = "auto"
    """How many layers go to the GPU; ``auto``: as many as its free memory holds."""
    kv_type: str | tuple[str, str] = "f16"
    """How keys and values are stored: ``q8_0`` halves them. Two names are for each its own."""
    flash_attention: bool | None = None
    """``None`` lets the engine decide."""
    memory_map: bool = True
    """Whether weights are mapped from the file instead of read into memory."""
    lora: Sequence[LoraAdapter | str | PathLike[str]] = ()
    draft_model: str | PathLike[str] | None = None
    """A small model of the same vocabulary, which proposes tokens that the large one checks."""
    prompt_lookup: bool = False
    """Propose tokens by what followed the same words earlier: fast where an answer quotes."""
    draft_length: int = 8
    """How many tokens are proposed at a time."""
    context_shift: bool = False
    """When an answer fills the context, forget its beginning and go on, instead of ending."""
    chat_template: str | None = None
    """A Jinja template in place of the model's own."""
    projector: str | PathLike[str] | None = None
    """The multimodal projector (mmproj) of a model that sees images."""
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check_chat(self)
        check_range("batch_size", self.batch_size, at_least=16, integer=True)
        check_layers(self.gpu_layers)
        for kind in self.kv_types:
            check_choice("kv_type", kind, KV_TYPES)
        check_choice("flash_attention", self.flash_attention, (True, False, None))
        object.__setattr__(self, "lora", tuple(map(_adapter, self.lora)))
        for name in ("draft_model", "projector"):
            if getattr(self, name) is not None:
                check_target(name, getattr(self, name))
        if self.draft_model is not None and self.prompt_lookup:
            raise ValidationError("draft_model and prompt_lookup both propose tokens: give one")
        check_range("draft_length", self.draft_length, at_least=1, at_most=64, integer=True)

    @property
    def kv_types(self) -> tuple[str, str]:
        """How keys are stored, and how values are."""
        return (self.kv_type, self.kv_type) if isinstance(self.kv_type, str) else self.kv_type


@dataclass(frozen=True)
class LlamaCppOptions(GgufOptions):
    """llama.cpp compiled for this machine: GGUF models, on the CPU or a GPU."""

    parallel: int = 8
    """How many requests are answered at once; they share the context's memory."""


@dataclass(frozen=True)
class XllamaCppOptions(GgufOptions):
    """llama.cpp's server engine in process: GGUF models, on the CPU or a GPU.

    With ``parallel``, each request has a context of its own of ``context_length``.
    """


@dataclass(frozen=True)
class MistralRsOptions:
    """mistral.rs: GGUF files, and folders or repositories of safetensors."""

    model_id: str | PathLike[str]
    """A GGUF file or a folder: a path, a hub id, or ``starter:chat``."""
    _: KW_ONLY
    file: str | None = None
    """The file inside a folder or a hub repository that holds several."""
    quantization: Quantization | str | None = None
    """Which GGUF of a repository to take; safetensors are quantised so while they load."""
    memory_budget: int | str | None = None
    """Take the best of a repository's files that fits, context included: ``"6GiB"``."""
    device: Device | str = "auto"
    context_length: int | None = None
    """How many tokens a conversation may have; ``None``: the model's own, at most 4,096."""
    parallel: int = 8
    """How many requests are answered at once."""
    threads: int | None = None
    chat_template: str | None = None
    """A Jinja template in place of the model's own."""
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        _check_chat(self)


def _check_chat(options: GgufOptions | MistralRsOptions) -> None:
    check_target("model_id", options.model_id)
    check_quantization(options.quantization)
    check_place(options.device, options.threads)
    if options.memory_budget is not None:
        parse_bytes("memory_budget", options.memory_budget)
    check_range("context_length", options.context_length, at_least=16, integer=True)
    check_range("parallel", options.parallel, at_least=1, at_most=256, integer=True)


def _adapter(value: Any) -> LoraAdapter:
    return value if isinstance(value, LoraAdapter) else LoraAdapter(value)
