"""How the vectors of a folder's tokens become one: its own settings say, or its ONNX file does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.errors import UnsupportedError
from blazen_fastembed.folders import read_json

_READY = "sentence_embedding"
"""What exporters call an output that is the text's vector already."""
_DECLARED = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
}
_OTHER = ("max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")


@dataclass(frozen=True)
class Pooling:
    """How one vector comes about, and of which output of the network."""

    way: str
    output: str

    @classmethod
    def of(cls, folder: Path, outputs: Sequence[Any], given: str | None) -> Pooling:
        """Choose it for a network with such outputs."""
        of_tokens = [node.name for node in outputs if len(node.shape or (0, 0, 0)) == 3]
        ready = [node.name for node in outputs if node.name == _READY]
        if given is None and (ready or not of_tokens):
            return cls("model", ready[0] if ready else outputs[0].name)
        if not of_tokens:
            raise UnsupportedError(
                f"the model of {folder} gives one vector for each text: leave pooling={given!r} out"
            )
        return cls(given or declared_pooling(folder) or "mean", of_tokens[0])

    def pooled(self, output: Any, mask: Any) -> Any:
        """Give one vector of length 1 for each text."""
        import numpy

        if self.way == "cls":
            rows = output[numpy.arange(len(mask)), mask.argmax(axis=1)]
        elif self.way == "last":
            last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
            rows = output[numpy.arange(len(mask)), last]
        elif self.way == "mean":
            weights = mask.astype("float32")
            rows = numpy.einsum("tld,tl->td", output.astype("float32", copy=False), weights)
        else:
            rows = output
        rows = rows.astype("float32", copy=False)
        return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def declared_pooling(folder: Path) -> str | None:
    """Read what sentence-transformers writes beside its models."""
    declared = read_json(folder / "1_Pooling" / "config.json")
    for name, way in _DECLARED.items():
        if declared.get(name):
            return way
    for name in _OTHER:
        if declared.get(f"pooling_mode_{name}"):
            raise UnsupportedError(
                f"{folder} pools by {name}, which is not supported: name another with pooling="
            )
    return None
