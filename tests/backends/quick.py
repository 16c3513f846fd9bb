"""A chat model of noise that reads and writes a hundred times as fast as the starter.

It is for what becomes of requests whatever their answers say: that they wait, are left, or make
room. It has the starter's tokens and template, so that each request is what it is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blazen.weights.gguf import read_gguf
from blazen.weights.starter import starter_path
from tests.gguf_floats import write_gguf

WIDTH, LAYERS = 32, 2
SQUARE = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def write_quick(path: Path) -> Path:
    """Write two layers of chance weights under the starter's vocabulary."""
    import numpy

    metadata = dict(read_gguf(starter_path("chat")).metadata)
    metadata.pop("general.file_type", None)
    words = len(metadata["tokenizer.ggml.tokens"])
    sizes = {
        "block_count": LAYERS,
        "embedding_length": WIDTH,
        "feed_forward_length": WIDTH,
        "attention.head_count": 1,
        "attention.head_count_kv": 1,
        "rope.dimension_count": WIDTH,
    }
    metadata |= {f"llama.{name}": size for name, size in sizes.items()}
    noise = numpy.random.default_rng(1)
    tensors: dict[str, Any] = {
        "token_embd.weight": noise.normal(0, 1, (words, WIDTH)),
        "output_norm.weight": numpy.ones(WIDTH),
    }
    for layer in range(LAYERS):
        for name in SQUARE:
            tensors[f"blk.{layer}.{name}.weight"] = noise.normal(0, 0.3, (WIDTH, WIDTH))
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = numpy.ones(WIDTH)
    return write_gguf(path, metadata, {name: array.astype("f4") for name, array in tensors.items()})
