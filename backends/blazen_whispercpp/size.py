"""How much memory a Whisper takes."""

from __future__ import annotations

from blazen.types.footprint import Footprint
from blazen_whispercpp.ggml import Shape

_CODE = 80 << 20
"""The engine's library, FFmpeg, NumPy and half a minute of sound: 50 to 60 MiB were measured."""
_HALF, _FLOAT = 2, 4
_TRIES = 5 + 2
"""A stretch that went wrong is heard five times at once, with room for two more."""
_STEP = 256
"""Caches have a multiple of so many places."""
_ENCODER = 8 << 20
_ENCODER_WIDE = 50
"""What the encoder's sums take, and how much more for each place of the sound and each number of
its width: 35 and 44 MB were seen for widths of 384 and 512."""


def shape_footprint(shape: Shape) -> Footprint:
    """Say what a model takes with its sums at their largest; the engine keeps what it once took."""
    text = _padded(shape.text_context) * shape.text_width * shape.text_layers
    crossed = _padded(shape.audio_context) * shape.text_width * shape.text_layers
    sound = _padded(shape.audio_context) * shape.audio_width
    caches = 2 * _HALF * (_TRIES * text + crossed + sound)
    encoder = _ENCODER + _ENCODER_WIDE * shape.audio_context * shape.audio_width
    # It is told how likely each token is after each one of the prompt.
    decoder = _FLOAT * shape.text_context * (shape.vocabulary + 4 * shape.text_width)
    return Footprint(resident={"cpu": _CODE + shape.file_bytes + caches + encoder + decoder})


def _padded(places: int) -> int:
    return -(-places // _STEP) * _STEP
