"""How much memory a model takes, and how many texts may be read at once within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blazen.hardware import Device
from blazen.types.footprint import Footprint
from blazen_fastembed.folders import read_json

if TYPE_CHECKING:
    from blazen_fastembed.names import Weights

PASS = 256 << 20
"""What the engine's sums of one pass may take. It never gives them back while it is loaded.

Texts of 512 tokens in batches of 32 took three gigabytes, with a model of 21 MB.
"""
PASS_TOKENS = 512
"""How many tokens a thread reads in one pass. More of them fall out of the processor's cache: eight
texts of 256 tokens took a fifth longer together than one by one, while 64 of 8 tokens took half."""
FILLING = 8
"""How many tokens a text may be filled up with to join longer ones: so many cost what a pass costs
by itself."""
_GPU_TOKENS, _GPU_FILLING = 16_384, 64
_CODE = 140 << 20
"""ONNX Runtime, fastembed, what they import, and a tokenizer: 110 to 130 MiB were measured."""
_FLOAT = 4


@dataclass(frozen=True)
class Shape:
    """The sizes of a model's layers."""

    heads: int
    inner: int
    longest: int

    @classmethod
    def of(cls, folder: Path, longest: int | None = None) -> Shape:
        """Read a model's folder; what it does not say is taken as in the usual large encoder."""
        config = read_json(folder / "config.json")

        def number(name: str, usual: int) -> int:
            value = config.get(name)
            return value if isinstance(value, int) and value > 0 else usual

        return cls(
            number("num_attention_heads", 16),
            number("intermediate_size", 4096),
            longest or number("max_position_embeddings", 512),
        )

    def text_bytes(self, tokens: int) -> int:
        """Give what the sums of one text take at most; measured at 128, 256 and 512 tokens.

        The engine's arena grows in steps that double, and so it may have less.
        """
        return tokens * _FLOAT * (5 * self.heads * tokens + 20 * self.inner)

    def texts_of_a_pass(self, tokens: int) -> int:
        """Say how many texts of so many tokens may be read at once: one at the least."""
        return max(1, PASS // self.text_bytes(max(1, tokens)))


@dataclass(frozen=True)
class Limits:
    """What a pass may hold."""

    texts: int
    tokens: int
    filling: int

    @classmethod
    def of(cls, device: Device, threads: int, texts: int) -> Limits:
        """Choose them for where the model runs."""
        if device != Device.Cpu:
            return cls(texts, _GPU_TOKENS, _GPU_FILLING)
        return cls(texts, PASS_TOKENS * threads, FILLING)

    def room(self, shape: Shape, tokens: int) -> int:
        """Say how many texts of so many tokens go together: one at the least."""
        return max(1, min(self.texts, self.tokens // max(1, tokens), shape.texts_of_a_pass(tokens)))


def folder_footprint(weights: Weights, limits: Limits, longest: int | None) -> Footprint:
    """Say what a model and its largest pass take."""
    shape = Shape.of(weights.folder, longest)
    work = limits.room(shape, shape.longest) * shape.text_bytes(shape.longest)
    # The weights are read, and then stored anew in the order that the sums want; while they load,
    # the graph is there in several forms.
    return Footprint(
        resident={"cpu": _CODE + 2 * weights.size + work},
        load_peak={"cpu": _CODE + 7 * weights.size},
    )
