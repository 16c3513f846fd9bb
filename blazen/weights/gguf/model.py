"""What a GGUF file says about its model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from blazen.errors import ValidationError
from blazen.types.record import Record, encode
from blazen.weights.gguf.array import GgufArray
from blazen.weights.gguf.types import FILE_TYPES, GUESSED

_NAMED_TOKENS = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "eot": "eot_token_id",
    "eom": "eom_token_id",
    "unk": "unknown_token_id",
    "sep": "seperator_token_id",  # spelt so in the format
    "pad": "padding_token_id",
    "mask": "mask_token_id",
}


@dataclass(frozen=True, slots=True)
class GgufTensor(Record):
    """One tensor: its name, shape (the fastest dimension first), type and place in its file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Like ``F32`` or ``Q4_K``; ``unknown-57`` for a type that this version does not know."""
    offset: int
    """From the start of the file."""
    nbytes: int
    part: int = 0
    """Which of `GgufFile.parts` it lies in."""

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GgufTokenizer(Record):
    """A summary of the tokenizer; the whole vocabulary is ``metadata['tokenizer.ggml.tokens']``."""

    model: str
    """The kind: ``gpt2`` is byte-level BPE, ``llama`` SentencePiece, ``bert`` WordPiece."""
    pre: str | None = None
    vocab_size: int = 0
    ids: dict[str, int] = field(default_factory=dict)
    """The special tokens that the file names: ``bos``, ``eos``, ``eot``, ``pad`` and so on."""
    texts: dict[str, str] = field(default_factory=dict)
    """The same tokens as text."""
    add_bos: bool | None = None
    """Whether the model wants a BOS in front; None if the file leaves it to the engine."""
    add_eos: bool | None = None
    add_space_prefix: bool | None = None

    @property
    def bos_id(self) -> int | None:
        """The token that starts a text."""
        return self.ids.get("bos")

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text."""
        return self.ids.get("eos")

    @property
    def eot_id(self) -> int | None:
        """The token that ends a turn, if the file names one beside EOS."""
        return self.ids.get("eot")


@dataclass(frozen=True, repr=False)
class GgufFile(Record):
    """The header of a GGUF file, or of all the parts of a split one."""

    path: Path
    version: int
    metadata: dict[str, Any]
    """Every key. Short arrays are tuples; a long one is a `GgufArray`, read when it is touched."""
    tensors: tuple[GgufTensor, ...]
    alignment: int
    data_offset: int
    """Where the weights start (in the first part)."""
    size: int
    """Bytes on disk, all parts together."""
    byte_order: Literal["little", "big"] = "little"
    parts: tuple[Path, ...] = ()

    @property
    def architecture(self) -> str | None:
        """The engine's name for the kind of network: ``llama``, ``gemma3``, ``qwen3moe``."""
        return self._text("general.architecture")

    @property
    def name(self) -> str | None:
        """The model's own name."""
        return self._text("general.name")

    @property
    def quantization(self) -> str | None:
        """How the weights are stored, such as ``Q4_K_M``.

        The file's own word for it; without one, the type that most bytes of the weights have.
        """
        code = self._whole("general.file_type")
        if code is not None and code & ~GUESSED in FILE_TYPES:
            return FILE_TYPES[code & ~GUESSED]
        nbytes: dict[str, int] = {}
        for tensor in self.tensors:
            nbytes[tensor.dtype] = nbytes.get(tensor.dtype, 0) + tensor.nbytes
        return max(nbytes, key=lambda dtype: nbytes[dtype]) if nbytes else None

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold together."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def context_length(self) -> int | None:
        """The longest context that the model was trained for."""
        return self.whole("context_length")

    @property
    def block_count(self) -> int | None:
        """How many layers there are, the output layer not counted."""
        return self.whole("block_count")

    @property
    def embedding_length(self) -> int | None:
        """How many numbers stand for one token between two layers."""
        return self.whole("embedding_length")

    @property
    def feed_forward_length(self) -> int | tuple[int, ...] | None:
        """How wide the feed-forward part is; a tuple if layers differ."""
        return self.per_layer("feed_forward_length")

    @property
    def head_count(self) -> int | tuple[int, ...] | None:
        """How many attention heads there are; a tuple if layers differ."""
        return self.per_layer("attention.head_count")

    @property
    def head_count_kv(self) -> int | tuple[int, ...] | None:
        """How many heads share keys and values (fewer than `head_count` for GQA and MQA)."""
        heads = self.per_layer("attention.head_count_kv")
        return self.head_count if heads is None else heads

    @property
    def expert_count(self) -> int:
        """How many experts a mixture has; 0 for a dense model."""
        return self.whole("expert_count") or 0

    @property
    def vocab_size(self) -> int:
        """How many tokens the model knows."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        size = self.whole("vocab_size")
        if size is None:
            size = len(tokens) if isinstance(tokens, (tuple, GgufArray)) else 0
        return size

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that turns messages into a prompt; None if the file has none."""
        return self._text("tokenizer.chat_template")

    @property
    def chat_templates(self) -> dict[str, str]:
        """Every template by its name (``tool_use``, ``rag``); the main one is ``default``."""
        named = {
            key.removeprefix("tokenizer.chat_template."): self._text(key) or ""
            for key in self.metadata
            if key.startswith("tokenizer.chat_template.")
        }
        main = self.chat_template
        return named if main is None else {"default": main, **named}

    @property
    def tokenizer(self) -> GgufTokenizer | None:
        """A summary of the tokenizer; None if there is none inside."""
        model = self._text("tokenizer.ggml.model")
        if model is None:
            return None
        prefix = "tokenizer.ggml."
        tokens = self.metadata.get(f"{prefix}tokens", ())
        if not isinstance(tokens, (tuple, GgufArray)):
            raise self._wrong(f"{prefix}tokens", "an array", tokens)
        found = {name: self._whole(prefix + key) for name, key in _NAMED_TOKENS.items()}
        ids = {name: token for name, token in found.items() if token is not None}
        return GgufTokenizer(
            model=model,
            pre=self._text(f"{prefix}pre"),
            vocab_size=len(tokens),
            ids=ids,
            texts={n: str(tokens[i]) for n, i in ids.items() if i < len(tokens)},
            add_bos=self._flag(f"{prefix}add_bos_token"),
            add_eos=self._flag(f"{prefix}add_eos_token"),
            add_space_prefix=self._flag(f"{prefix}add_space_prefix"),
        )

    def whole(self, key: str) -> int | None:
        """Give a whole number of the architecture, such as ``context_length``."""
        return self._whole(f"{self.architecture}.{key}")

    def per_layer(self, key: str) -> int | tuple[int, ...] | None:
        """Give a whole number of the architecture, or one for each layer."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple) and value and all(type(item) is int for item in value):
            return value
        return self.whole(key)

    def to_dict(self, *, arrays: bool = False) -> dict[str, Any]:
        """Give plain JSON values; long arrays by type and length, or in full with ``arrays``."""
        out = super().to_dict()
        out["metadata"] = {
            key: _plain(list(value) if arrays and isinstance(value, GgufArray) else value)
            for key, value in self.metadata.items()
        }
        return out

    def __repr__(self) -> str:
        try:
            kind = [self.architecture, self.quantization]
        except ValidationError:
            kind = ["broken metadata"]
        facts = [
            *kind,
            f"{_short(self.parameters)} parameters",
            f"{len(self.tensors)} tensors",
            f"{len(self.parts)} parts" if len(self.parts) > 1 else None,
            f"{_short(self.size)}B",
        ]
        return f"<GgufFile {self.path.name!r}: {', '.join(fact for fact in facts if fact)}>"

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "text", value)
        return value

    def _whole(self, key: str) -> int | None:
        value = self.metadata.get(key)
        if value is not None and (type(value) is not int or value < 0):
            raise self._wrong(key, "a whole number", value)
        return value

    def _flag(self, key: str) -> bool | None:
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def _wrong(self, key: str, wanted: str, value: Any) -> ValidationError:
        return ValidationError(f"{self.path}: {key} must be {wanted}, not {value!r:.60}")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for these
    if isinstance(value, Sequence) and not isinstance(value, (str, GgufArray)):
        return [_plain(item) for item in value]
    return encode(value)


def _short(number: int) -> str:
    scaled = float(number)
    for unit in ("", "k", "M"):
        if scaled < 1000:
            return f"{scaled:.3g}{unit}" if unit else str(number)
        scaled /= 1000
    return f"{scaled:.3g}G" if scaled < 1000 else f"{scaled / 1000:.4g}T"
