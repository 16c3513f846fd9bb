"""How much memory a Kokoro takes."""

from __future__ import annotations

from pathlib import Path

from blazen.types.footprint import Footprint

_CODE = 90 << 20
"""ONNX Runtime, espeak-ng, NumPy and a voice."""
_WORK = 480 << 20
"""What the sums of a call of `CALL_TOKENS` take; they are given back after it."""


def model_footprint(model: Path) -> Footprint:
    """Say what a model takes, and on top of it a call: one runs at a time."""
    weights = model.stat().st_size
    # The weights are stored anew in the order that the sums want, a part of them beside the old.
    return Footprint(resident={"cpu": _CODE + weights * 5 // 4 + _WORK})
