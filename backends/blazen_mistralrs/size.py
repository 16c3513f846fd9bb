"""What a model takes of each pool, from its files alone. On a GPU this was reckoned, not seen."""

from __future__ import annotations

import json
from typing import Any

from blazen.hardware import Device, find_gpus
from blazen.types.footprint import Footprint, total
from blazen.weights.gguf import estimate_memory, read_gguf
from blazen.weights.gguf.placement import DRIVER
from blazen.weights.safetensors import read_safetensors
from blazen_mistralrs.sources import Source

_LIBRARY = 64 << 20
"""The engine's code, of which 48 to 60 MiB were seen in memory."""
_KEPT = 48 << 20
"""What the allocator keeps of finished requests: 40 to 60 MiB, however many there were."""
_TOKEN = 512
"""For each token of the vocabulary: the tokenizer has its own tables, which the file has not."""
_Q8 = 34 / 32  # bytes of a weight as Q8_0, the largest that weights are stored anew as
_COPIES = 2
"""Of a request's keys and values: its own, and those of the batch that it is joined to."""


def source_footprint(source: Source, context: int, parallel: int, device: Device) -> Footprint:
    """Say what a model and each of its requests take.

    The file stays mapped beside the weights that are made of it, and the table of the tokens'
    vectors is stored as floats besides.
    """
    on_cpu = device == Device.Cpu
    if source.path.is_file():
        gguf = read_gguf(source.path)
        file = sum(tensor.nbytes for tensor in gguf.tensors)
        count = sum(tensor.elements for tensor in gguf.tensors)
        stored = int(count * _Q8) if source.in_situ else file
        stored += 4 * sum(t.elements for t in gguf.tensors if t.name == "token_embd.weight")
        estimate = estimate_memory(gguf, context_length=context)
        cache = estimate.ram.kv_cache
    else:
        weights = read_safetensors(source.path)
        file = weights.size
        width = 2.0 if source.dtype in ("F16", "BF16") or not on_cpu else 4.0
        stored = int(weights.parameters * (_Q8 if source.in_situ else width))
        cache = _cache(json.loads((source.path / "config.json").read_text("utf-8")), context)
    ram = _LIBRARY + _TOKEN * (source.vocabulary or 0)
    if on_cpu:
        resident = {"cpu": ram + _KEPT + file + stored}
        return Footprint(resident=resident, per_request={"cpu": _COPIES * cache})
    pool = next((gpu.pool for gpu in find_gpus() if gpu.device == device), device.pool)
    # The cache is made as a whole when the model loads, for as many requests as it answers at once.
    whole = stored + cache * parallel + (0 if pool == "cpu" else DRIVER)
    resident = total({"cpu": ram}, {pool: whole})
    return Footprint(resident=resident, load_peak=total(resident, {"cpu": file}))


def _cache(config: dict[str, Any], context: int) -> int:
    text = config.get("text_config") or config
    heads, width = int(text.get("num_attention_heads") or 1), int(text.get("hidden_size") or 0)
    kept = int(text.get("num_key_value_heads") or heads)
    size = int(text.get("head_dim") or width // heads)
    return int(text.get("num_hidden_layers") or 0) * 2 * kept * size * 2 * context
