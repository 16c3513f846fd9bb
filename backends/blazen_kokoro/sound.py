"""From what the model gives to a piece of sound: without silent edges, as loud as asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[numpy.float32]

RATE = 24_000
_FRAME = RATE // 200
_SILENT = 10 ** (-46 / 20)
"""Below this part of the loudest sample nothing is heard."""
_LEAD = 6
_TAIL = 16
"""How many frames around what is heard stay: a soft beginning or end is part of the sound."""


def trimmed(samples: Samples) -> Samples:
    """Cut the silence off both ends."""
    import numpy

    count = len(samples) // _FRAME
    if not count:
        return samples
    frames = numpy.abs(samples[: count * _FRAME]).reshape(count, _FRAME).max(axis=1)
    loud = numpy.flatnonzero(frames > _SILENT * frames.max())
    if not len(loud):
        return samples
    start, end = max(0, loud[0] - _LEAD), min(count, loud[-1] + 1 + _TAIL)
    return samples[start * _FRAME : end * _FRAME]


def finished(samples: Samples, volume: float, pause: float) -> Samples:
    """Make a piece as loud as asked, within the scale, with silence after it."""
    import numpy

    loud = samples if volume == 1 else samples * numpy.float32(volume)
    return numpy.concatenate([numpy.clip(loud, -1.0, 1.0), silence(pause)])


def silence(seconds: float) -> Samples:
    """Give so many seconds of silence."""
    import numpy

    return numpy.zeros(round(seconds * RATE), dtype="float32")
