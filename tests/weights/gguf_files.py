"""GGUF files made by hand, well-formed or not."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIZES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144)}


@dataclass
class Raw:
    """A metadata value as it is written: its type's number and its bytes."""

    code: int
    data: bytes


@dataclass
class Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str | int = "F32"
    offset: int | None = None
    nbytes: int | None = None


@dataclass
class Maker:
    """Writes one GGUF file; what is set here may contradict what is written."""

    metadata: dict[str, Any] | list[tuple[str, Any]] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    version: int = 3
    order: str = "<"
    alignment: int = 32
    magic: bytes = b"GGUF"
    tensor_count: int | None = None
    key_count: int | None = None
    body: bool = True

    def pack(self, letters: str, *values: Any) -> bytes:
        return struct.pack(self.order + letters, *values)

    def text(self, value: str | bytes) -> bytes:
        data = value.encode("utf-8") if isinstance(value, str) else value
        return self.pack("Q", len(data)) + data

    def value(self, value: Any) -> tuple[int, bytes]:
        if isinstance(value, Raw):
            return value.code, value.data
        if isinstance(value, bool):
            return 7, self.pack("?", value)
        if isinstance(value, int):
            return 4, self.pack("I", value)
        if isinstance(value, float):
            return 6, self.pack("f", value)
        if isinstance(value, str):
            return 8, self.text(value)
        code = self.value(value[0])[0] if value else 4
        items = b"".join(self.value(item)[1] for item in value)
        return 9, self.pack("IQ", code, len(value)) + items

    def header(self) -> bytes:
        pairs = self.metadata.items() if isinstance(self.metadata, dict) else self.metadata
        keys = 0
        out = b""
        for key, value in pairs:
            code, data = self.value(value)
            out += self.text(key) + self.pack("I", code) + data
            keys += 1
        at = 0
        for tensor in self.tensors:
            code, nbytes = self._size(tensor)
            offset = at if tensor.offset is None else tensor.offset
            out += self.text(tensor.name) + self.pack("I", len(tensor.shape))
            out += self.pack("Q" * len(tensor.shape), *tensor.shape)
            out += self.pack("IQ", code, offset)
            at = -(-(offset + nbytes) // self.alignment) * self.alignment
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        key_count = keys if self.key_count is None else self.key_count
        start = self.magic + self.pack("IQQ", self.version, tensor_count, key_count)
        return start + out

    def bytes(self) -> bytes:
        out = self.header()
        if not self.body or not self.tensors:
            return out
        start = -(-len(out) // self.alignment) * self.alignment
        end, at = start, 0
        for tensor in self.tensors:
            nbytes = self._size(tensor)[1]
            at = at if tensor.offset is None else tensor.offset
            end = max(end, start + at + nbytes)
            at = -(-(at + nbytes) // self.alignment) * self.alignment
        return out.ljust(end, b"\0")

    def write(self, path: Path) -> Path:
        path.write_bytes(self.bytes())
        return path

    def _size(self, tensor: Tensor) -> tuple[int, int]:
        elements = 1
        for length in tensor.shape:
            elements *= length
        if isinstance(tensor.dtype, int):
            return tensor.dtype, tensor.nbytes or 0
        code, block, width = SIZES[tensor.dtype]
        nbytes = elements // block * width if tensor.nbytes is None else tensor.nbytes
        return code, nbytes


def small(**changes: Any) -> Maker:
    """A tiny complete model of architecture llama: two layers, a tokenizer, a template."""
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.file_type": 7,
        "general.tags": ["a", "ü"],
        "llama.block_count": 2,
        "llama.context_length": 128,
        "llama.embedding_length": 32,
        "llama.feed_forward_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "tiny",
        "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "\u65e5"],
        "tokenizer.ggml.scores": [0.0, -1.0, -2.5, 3.0],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": "{{ messages[0].content }}",
        **changes.pop("metadata", {}),
    }
    tensors = [Tensor("token_embd.weight", (32, 4), "Q8_0"), Tensor("output_norm.weight", (32,))]
    for layer in range(2):
        tensors += [
            Tensor(f"blk.{layer}.attn_q.weight", (32, 32), "Q8_0"),
            Tensor(f"blk.{layer}.ffn_up.weight", (32, 64), "F16"),
        ]
    return Maker(metadata, changes.pop("tensors", tensors), **changes)
