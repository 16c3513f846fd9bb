"""What a GGUF model takes of each pool in an engine made of llama.cpp, whether it fits or not."""

from __future__ import annotations

import platform
from collections.abc import Collection
from typing import Any, Literal

from blazen.hardware import Device, choose_device, find_gpus
from blazen.types.footprint import Footprint, total
from blazen.weights.gguf.estimate import estimate_memory, layers_that_fit
from blazen.weights.gguf.kv_cache import ENCODERS, CacheShape, each_layer, layer_caches
from blazen.weights.gguf.model import GgufFile
from blazen.weights.gguf.placement import DRIVER, RESERVE

_TOKEN = 288
"""Bytes of RAM for each token of the vocabulary: its text, its merges, and a row of candidates.

Between a vocabulary of 49,152 tokens and one of 262,144, 250 of them were measured.
"""
_REPACKED = {
    "x86": frozenset({"Q2_K", "Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}),
    "arm": frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4"}),
}
"""Types whose matrices a CPU stores once more in another order, beside the mapped file."""
_LONG = 1 << 20  # tokens: more than any window
_ROWS = 8  # a matrix is stored anew in groups of so many rows


def gguf_footprint(
    gguf: GgufFile,
    *,
    device: Device | str,
    gpu_layers: int | Literal["auto"],
    supported: Collection[str],
    overhead: int,
    beside: int = 0,
    reads: int = 0,
    checkpoints: int = 0,
    memory_map: bool = True,
    **shape: Any,
) -> Footprint:
    """Give what a model will take; ``shape`` are settings of `estimate_memory`.

    Args:
        gguf: What `read_gguf` gave.
        device: Where it is wanted.
        gpu_layers: How many layers go to the GPU; ``auto``: as many as fit there now.
        supported: What the engine runs on.
        overhead: What the engine's code and its own records take of RAM.
        beside: What else goes where the weights go, in bytes: adapters, a projector.
        reads: How many tokens an encoder reads in a pass.
        checkpoints: How many copies of a sequence's windows and states the engine keeps in RAM.
        memory_map: Whether the weights in RAM are mapped from the file.
    """
    chosen = _device(device, gpu_layers, supported)
    layers, pool = 0, "cpu"
    if chosen != Device.Cpu:
        gpu = next(gpu for gpu in find_gpus() if gpu.device == chosen)
        pool = gpu.pool
        layers = -1 if gpu_layers == "auto" else gpu_layers
        if gpu_layers == "auto" and chosen != Device.Metal:
            layers = layers_that_fit(gguf, max(gpu.free - RESERVE, 0), **shape)
            if layers == 0 and Device.parse(device) != Device.Auto:
                layers = -1  # it would be refused now, and may be let in when there is room
    found = estimate_memory(gguf, gpu_layers=layers, **shape)
    passes = reads * encoder_row(gguf)
    ram = found.ram.total + overhead + _TOKEN * gguf.vocab_size
    if checkpoints:
        ram += checkpoints * checkpoint_bytes(gguf, shape["batch"], shape["kv_type"])
    if found.gpu_layers == 0:
        ram += beside + passes + (repacked_bytes(gguf) if memory_map else 0)
        return Footprint(resident={"cpu": ram})
    vram = found.vram.total + beside + passes + (0 if pool == "cpu" else DRIVER)
    resident = total({"cpu": ram}, {pool: vram})
    # The part of the file that goes to the GPU is mapped too until it is there.
    peak = total(resident, {"cpu": found.vram.weights}) if memory_map and pool != "cpu" else {}
    return Footprint(resident=resident, load_peak=peak)


def encoder_row(gguf: GgufFile) -> int:
    """Give what each token of a pass takes, where all of its layers' results are kept.

    llama.cpp keeps them where it is asked for vectors, whatever its log says of its buffers. It was
    measured for an encoder and for a decoder.
    """
    width, inner = gguf.embedding_length or 0, each_layer(gguf, "feed_forward_length", 0)
    own = 5 if gguf.architecture in ENCODERS else 2
    return 4 * sum(own * width + 2 * size for size in inner)


def checkpoint_bytes(gguf: GgufFile, batch: int, kv_types: tuple[str, str]) -> int:
    """Give the size of one copy of what a sequence keeps beside what grows with its length.

    A model without sliding windows and states has none. With the engine's own marks and what the
    allocator rounds up, half as much again was measured.
    """
    short, long = (
        layer_caches(gguf, CacheShape(context, 1, batch, kv_types, False, True))
        for context in (_LONG // 2, _LONG)
    )
    return 3 * sum(a for a, b in zip(short, long, strict=True) if a == b) // 2


def repacked_bytes(gguf: GgufFile) -> int:
    """Give the size of the matrices that a CPU keeps in an order of its own as well."""
    kind = "arm" if platform.machine().lower() in ("arm64", "aarch64") else "x86"
    return sum(
        tensor.nbytes
        for tensor in gguf.tensors
        if tensor.dtype in _REPACKED[kind]
        and len(tensor.shape) > 1
        and tensor.shape[1] % _ROWS == 0
        and not tensor.name.startswith("token_embd")
    )


def _device(device: Device | str, gpu_layers: int | str, supported: Collection[str]) -> Device:
    wish = Device.parse(device)
    if gpu_layers == 0 and wish == Device.Auto:
        return Device.Cpu
    return choose_device(wish, supported=supported)
