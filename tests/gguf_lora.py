"""A LoRA adapter made of noise, for a real model: strong enough that its answers change."""

from __future__ import annotations

from pathlib import Path

RANK = 4


def write_lora(path: Path, model: Path, *, strength: float = 0.5) -> Path:
    """Write an adapter for the feed-forward layers of a GGUF model."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(model)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    noise = np.random.default_rng(1)
    for tensor in reader.tensors:
        if tensor.name.endswith("ffn_down.weight"):
            inner, outer = (int(size) for size in tensor.shape)
            down = noise.normal(0, strength, (RANK, inner)).astype(np.float32)
            up = noise.normal(0, strength, (outer, RANK)).astype(np.float32)
            writer.add_tensor(f"{tensor.name}.lora_a", down)
            writer.add_tensor(f"{tensor.name}.lora_b", up)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
