"""How much memory a model takes, and how many texts may be read at once within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blazen.types.footprint import Footprint
from blazen_fastembed.folders import read_json

PASS = 256 << 20
"""What the engine's sums of one pass may take. It never gives them back while it is loaded.

Texts of 512 tokens in batches of 32 took three gigabytes, with a model of 21 MB.
"""
_CODE = 120 << 20
"""ONNX Runtime, fastembed, what they import, and a tokenizer: 110 to 120 MiB were measured."""
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


def folder_footprint(folder: Path, batch: int, longest: int | None) -> Footprint:
    """Say what a model and its largest pass take."""
    files = [path for path in folder.rglob("*") if ".onnx" in path.name and path.is_file()]
    # The weights are read, and then stored anew in the order that the sums want.
    weights = sum(path.stat().st_size for path in files)
    shape = Shape.of(folder, longest)
    work = min(batch * shape.text_bytes(shape.longest), max(PASS, shape.text_bytes(shape.longest)))
    # While it loads, the graph is there in several forms.
    return Footprint(
        resident={"cpu": _CODE + 2 * weights + work}, load_peak={"cpu": _CODE + 7 * weights}
    )
