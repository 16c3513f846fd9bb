"""How much memory a voice takes."""

from __future__ import annotations

from blazen.types.footprint import Footprint
from blazen_piper.files import VoiceFiles

_CODE = 60 << 20
"""ONNX Runtime, piper, espeak and what they import."""
_MEDIUM = 63 << 20
_MEDIUM_WORK = 280 << 20
"""What the sums of the longest pass take with a voice of medium size; they are kept for more."""


def voice_footprint(files: VoiceFiles) -> Footprint:
    """Say what a voice takes, with the longest pass that it speaks in."""
    weights = files.weights.stat().st_size
    # A voice of high quality has wider layers, and its sums grow as its weights do.
    work = max(1.0, weights / _MEDIUM) * _MEDIUM_WORK
    return Footprint(resident={"cpu": round(_CODE + 1.3 * weights + work)})
