"""What llama.cpp needs to compute one batch of a GGUF model, beside weights and cache.

Buffers are used again from layer to layer, so the widest step counts: the logits, one attention or
one feed-forward. How many rows each holds was read off llama.cpp's log, on a CPU and on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from blazen.weights.gguf.kv_cache import ENCODERS, CacheShape, each_layer, layer_caches
from blazen.weights.gguf.model import GgufFile

_FLOAT = 4
_READ = "f16"
"""What flash attention on a GPU reads; what is kept in another type is converted first."""


class Buffers:
    """The sizes of a model's steps, in bytes, for batches of one shape."""

    def __init__(
        self, gguf: GgufFile, shape: CacheShape, caches: Sequence[int], outputs: int
    ) -> None:
        self._gguf, self._batch, self._flash = gguf, shape.batch, shape.flash_attention
        self._caches, self._blocks = caches, len(caches)
        self._seen = shape.seen(gguf)
        self._width = gguf.embedding_length or 0
        heads = max(each_layer(gguf, "attention.head_count", 0), default=0)
        kv_heads = max(each_layer(gguf, "attention.head_count_kv", heads), default=0)
        head = gguf.whole("attention.key_length") or (self._width // heads if heads else 0)
        self._heads, self._queries, self._keys = heads, heads * head, kv_heads * head
        vocabulary = 0 if gguf.architecture in ENCODERS else gguf.vocab_size
        self._results = vocabulary * shape.sequences * _FLOAT
        self._logits = outputs * (vocabulary + 2 * self._width) * _FLOAT
        self._as_floats = 0
        if shape.flash_attention and shape.types != (_READ, _READ):
            plain = layer_caches(gguf, replace(shape, types=(_READ, _READ)))
            self._as_floats = max(plain, default=0)

    def split(self, first: int, largest: Sequence[int], *, output_on_gpu: bool) -> tuple[int, int]:
        """Give what is taken of RAM and of VRAM, where the GPU has the layers from ``first`` on.

        ``largest`` are the bytes of each layer's largest tensor.
        """
        if not self._blocks or not self._width:
            return 0, 0
        masks = self._masks()
        if not output_on_gpu:
            layer = masks + max(self._attention(), self._feed_forward())
            return max(self._logits, layer) + self._results, 0
        # A batch of a prompt is computed on the GPU even for layers in RAM: what they hold visits.
        handed_over = self._batch * self._width * (3 if first else 2) * _FLOAT
        kept = max(self._caches[:first], default=0)
        weights = max(largest[:first], default=0)
        attention = self._attention_on_gpu() + kept
        on_gpu = masks + max(attention, self._feed_forward(on_gpu=True)) + weights
        return masks + handed_over + self._results, max(self._logits, on_gpu)

    def _masks(self) -> int:
        """Give the bytes of what says which token may see which, once for each kind of layer."""
        return sum(self._seen) * self._batch * (2 if self._flash else _FLOAT)

    def _attention(self) -> int:
        rows = 3 * self._width + 2 * self._queries + 2 * self._keys
        scores = 0 if self._flash else self._heads * max(self._seen, default=0)
        return self._batch * (rows + scores) * _FLOAT

    def _attention_on_gpu(self) -> int:
        if not self._flash:
            return self._attention()
        return self._batch * 2 * (self._width + self._queries) * _FLOAT + self._as_floats

    def _feed_forward(self, *, on_gpu: bool = False) -> int:
        dense = max(each_layer(self._gguf, "feed_forward_length", 0), default=0)
        expert = max(each_layer(self._gguf, "expert_feed_forward_length", 0), default=0) or dense
        used = max(each_layer(self._gguf, "expert_used_count", 0), default=0)
        inner = self._gguf.whole("ssm.inner_size") or 0
        experts = 0
        if self._gguf.expert_count:
            experts = 3 * used * expert
            if self._width > 2 * expert:  # the results don't fit where the inner rows were
                experts += used * self._width
        carried = (4 if experts else 3) if on_gpu else 5
        return self._batch * (max(3 * dense, experts, 5 * inner) + carried * self._width) * _FLOAT
