"""How much memory a GGUF model will take in llama.cpp, before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blazen.checks import check_choice, check_range
from blazen.errors import ValidationError
from blazen.types.record import Record
from blazen.weights.gguf.buffers import Buffers
from blazen.weights.gguf.kv_cache import ENCODERS, CacheShape, layer_caches, pad
from blazen.weights.gguf.model import GgufFile, GgufTensor
from blazen.weights.quantization import KV_TYPES

_BLOCK = re.compile(r"blk\.(\d{1,4})\.")
_INPUT = ("token_embd", "token_types", "position_embd", "per_layer_token_embd")
_NO_CONTEXT = 4096


@dataclass(frozen=True)
class PoolEstimate(Record):
    """What is taken of one pool of memory, in bytes."""

    weights: int = 0
    kv_cache: int = 0
    """Keys and values, or the states of recurrent layers."""
    compute: int = 0
    """The engine's buffers for one batch."""

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.kv_cache + self.compute


@dataclass(frozen=True, repr=False)
class MemoryEstimate(Record):
    """What a model will take of RAM and of VRAM."""

    ram: PoolEstimate
    vram: PoolEstimate
    layers: int
    """How many layers can be offloaded, the output layer counted."""
    gpu_layers: int
    """How many of them are."""
    context_length: int

    @property
    def total(self) -> int:
        """RAM and VRAM together, in bytes."""
        return self.ram.total + self.vram.total

    def __repr__(self) -> str:
        pools = ", ".join(
            f"{name} {pool.total / 2**20:,.0f} MiB (weights {pool.weights / 2**20:,.0f}, "
            f"cache {pool.kv_cache / 2**20:,.0f}, compute {pool.compute / 2**20:,.0f})"
            for name, pool in (("ram", self.ram), ("vram", self.vram))
        )
        return (
            f"<MemoryEstimate {pools}; {self.gpu_layers} of {self.layers} layers offloaded, "
            f"context {self.context_length:,}>"
        )


def estimate_memory(
    gguf: GgufFile,
    *,
    context_length: int | None = None,
    gpu_layers: int = 0,
    kv_type: str | tuple[str, str] = "f16",
    batch: int = 512,
    sequences: int = 1,
    outputs: int | None = None,
    flash_attention: bool = True,
    swa_full: bool = False,
    unified: bool = False,
) -> MemoryEstimate:
    """Estimate what llama.cpp will allocate for a model.

    Args:
        gguf: What `read_gguf` gave.
        context_length: Tokens in all, shared by the sequences; the model's own if left out.
        gpu_layers: How many layers go to the GPU, from the output layer downwards; -1 for all.
        kv_type: The type of the KV cache, or of its keys and its values.
        batch: How many tokens are computed at once (llama.cpp's ``n_ubatch``).
        sequences: How many conversations are held at once.
        outputs: For how many tokens of a batch the logits are kept: one for each sequence if left
            out, as llama.cpp's server does; some callers of the library keep the whole batch's.
        flash_attention: Whether attention scores are never written out.
        swa_full: Whether layers with a sliding window keep the whole context all the same.
        unified: Whether the sequences share one pool for their keys and values (``kv_unified``).
    """
    model = _Model(
        gguf, context_length, kv_type, batch, sequences, outputs, flash_attention, swa_full, unified
    )
    check_range("gpu_layers", gpu_layers, at_least=-1, integer=True)
    layers = model.layers if gpu_layers < 0 else min(gpu_layers, model.layers)
    return model.estimate(layers)


def layers_that_fit(
    gguf: GgufFile,
    vram_bytes: int,
    *,
    context_length: int | None = None,
    kv_type: str | tuple[str, str] = "f16",
    batch: int = 512,
    sequences: int = 1,
    outputs: int | None = None,
    flash_attention: bool = True,
    swa_full: bool = False,
    unified: bool = False,
) -> int:
    """Give the largest ``gpu_layers`` whose estimate stays within so many bytes of VRAM."""
    check_range("vram_bytes", vram_bytes, at_least=0)
    model = _Model(
        gguf, context_length, kv_type, batch, sequences, outputs, flash_attention, swa_full, unified
    )
    for layers in range(model.layers, 0, -1):
        if model.estimate(layers).vram.total <= vram_bytes:
            return layers
    return 0


class _Model:
    """A model's numbers, taken from the file once for any number of offloaded layers."""

    def __init__(
        self,
        gguf: GgufFile,
        context_length: int | None,
        kv_type: str | tuple[str, str],
        batch: int,
        sequences: int,
        outputs: int | None,
        flash_attention: bool,
        swa_full: bool,
        unified: bool,
    ) -> None:
        check_range("context_length", context_length, at_least=1, integer=True)
        check_range("batch", batch, at_least=1, integer=True)
        check_range("sequences", sequences, at_least=1, integer=True)
        check_range("outputs", outputs, at_least=0, integer=True)
        types = (kv_type, kv_type) if isinstance(kv_type, str) else tuple(kv_type)
        for kind in types:
            check_choice("kv_type", kind, KV_TYPES)
        if len(types) != 2:
            raise ValidationError(
                f"kv_type must be one type or two (keys, values), not {kv_type!r}"
            )
        if not flash_attention and types[1] not in ("f32", "f16", "bf16"):
            raise ValidationError(f"values of type {types[1]!r} need flash_attention=True")
        self.gguf = gguf
        self.context = context_length or gguf.context_length or _NO_CONTEXT
        batch = min(batch, pad(self.context))
        shape = CacheShape(
            self.context, sequences, batch, (types[0], types[1]), swa_full, flash_attention, unified
        )
        self.caches = layer_caches(gguf, shape)
        outputs = min(sequences if outputs is None else outputs, batch)
        self.buffers = Buffers(gguf, shape, self.caches, outputs)
        self.blocks = len(self.caches)
        self.layers = self.blocks + 1
        self._sort_weights(gguf.tensors)

    def _sort_weights(self, tensors: tuple[GgufTensor, ...]) -> None:
        self.block_weights = [0] * self.blocks
        self.largest = [0] * self.blocks
        self.input_weights = self.output_weights = self.embedding = 0
        tied = True
        for tensor in tensors:
            found = _BLOCK.match(tensor.name)
            if found and int(found[1]) < self.blocks:
                block = int(found[1])
                self.block_weights[block] += tensor.nbytes
                self.largest[block] = max(self.largest[block], tensor.nbytes)
            elif tensor.name.startswith(_INPUT):
                self.input_weights += tensor.nbytes
                self.embedding += tensor.nbytes if tensor.name == "token_embd.weight" else 0
            else:
                self.output_weights += tensor.nbytes
                tied = tied and tensor.name != "output.weight"
        # A GPU that computes the output needs the shared matrix too; the input stays in RAM.
        self.tied = self.embedding if tied and self.gguf.architecture not in ENCODERS else 0

    def estimate(self, gpu_layers: int) -> MemoryEstimate:
        """Split the model for so many offloaded layers: the output first, then from the end."""
        first = self.layers - gpu_layers  # the lowest layer on the GPU; the output is the last
        output_on_gpu = gpu_layers > 0
        ram_compute, vram_compute = self.buffers.split(
            first, self.largest, output_on_gpu=output_on_gpu
        )
        ram = PoolEstimate(
            weights=self.input_weights
            + sum(self.block_weights[:first])
            + (0 if output_on_gpu else self.output_weights),
            kv_cache=sum(self.caches[:first]),
            compute=ram_compute,
        )
        vram = PoolEstimate(
            weights=sum(self.block_weights[first:])
            + (self.output_weights + self.tied if output_on_gpu else 0),
            kv_cache=sum(self.caches[first:]),
            compute=vram_compute,
        )
        return MemoryEstimate(ram, vram, self.layers, gpu_layers, self.context)
