"""A LoRA adapter made of noise, for a real model: strong enough that its answers change."""

from __future__ import annotations

from pathlib import Path

from blazen.weights.gguf import read_gguf
from tests.gguf_floats import write_gguf

RANK = 4


def write_lora(path: Path, model: Path, *, strength: float = 0.5) -> Path:
    """Write an adapter for the feed-forward layers of a GGUF model."""
    import numpy

    noise = numpy.random.default_rng(1)
    tensors = {}
    for tensor in read_gguf(model).tensors:
        if tensor.name.endswith("ffn_down.weight"):
            inner, outer = tensor.shape
            tensors[f"{tensor.name}.lora_a"] = noise.normal(0, strength, (RANK, inner))
            tensors[f"{tensor.name}.lora_b"] = noise.normal(0, strength, (outer, RANK))
    metadata = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(RANK),
    }
    return write_gguf(path, metadata, {name: array.astype("f4") for name, array in tensors.items()})
