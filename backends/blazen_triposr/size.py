"""How much memory a network takes."""

from __future__ import annotations

from blazen import torch as shared
from blazen.hardware import Device
from blazen.types.footprint import Footprint
from blazen_triposr.files import ModelFiles
from blazen_triposr.settings import Settings, read_settings

RESOLUTION = 256
"""Points along each side of the volume, where a request does not say."""

_POINT = 2500
"""Bytes that one point of the volume takes on its way through the field."""
_STORED = 4
"""Bytes of a number in the files: they are published in full precision."""


def chunk_size(gpu: bool) -> int:
    """Say how many points are calculated at once, where a request does not say."""
    return 1 << 16 if gpu else 8192


def network_footprint(
    files: ModelFiles, device: Device, dtype: str, background: int = 0, *, libraries: int = 0
) -> Footprint:
    """Say what a network takes, with a request of the usual resolution.

    ``background`` is the size of the file that finds the object, ``libraries`` what comes with the
    model into the process. What a GPU's driver takes for the
    process as such is left out: all models there share it.
    """
    settings = read_settings(files.config)
    stored = files.weights.stat().st_size
    number = shared.dtype_bytes(device, dtype)
    code = libraries + 2 * background
    weights = stored * number // _STORED
    work = _transformer(settings, number, gpu=device.is_gpu)
    work += chunk_size(device.is_gpu) * _POINT
    volume = RESOLUTION**3 * 6  # the densities, and the surface that is cut from them
    pool = device.pool
    if pool == "cpu":
        # What is converted lies beside the file's own mapped bytes until all of it is.
        peak = weights if number == _STORED else weights + stored
        return Footprint(
            resident={"cpu": code + weights},
            load_peak={"cpu": code + peak},
            per_request={"cpu": work + volume},
        )
    return Footprint(
        resident={"cpu": code, pool: weights},
        load_peak={"cpu": code + stored, pool: weights},
        per_request={"cpu": volume, pool: work},
    )


def _transformer(settings: Settings, number: int, *, gpu: bool) -> int:
    """Count what the widest layer of the backbone holds at once."""
    tokens, width = 3 * settings.plane_size**2, settings.heads * settings.head_size
    rows = tokens if gpu else min(tokens, 256)
    # The tokens, what they were before, and one of: what looks and is looked at, or the wide layer.
    attention = 3 * tokens * width + 3 * rows * width
    wide = rows * (8 + 4 + 4) * width
    return number * (3 * tokens * width + max(attention, wide))
