"""How loud speech is."""

from __future__ import annotations

from typing import Any

LOUDNESS = 0.1
"""The effective value that speech is brought to: 20 dB below full scale, with room for peaks."""

_KNEE = 0.8
_FRAME_SECONDS = 0.05
_SILENCE = 0.1
_RANGE = 2.0
"""How far a sentence may be brought up or down against the voice's usual: a breath stays soft."""


def finished(
    samples: Any, sample_rate: int, *, usual_gain: float, volume: float, silence: float
) -> Any:
    """Give a sentence as loud as the others, at the volume asked for, and the silence after it."""
    import numpy as np

    if samples is None:
        return np.zeros(round(silence * sample_rate), np.float32)
    own = gain_of(samples, sample_rate) or usual_gain
    gain = min(max(own, usual_gain / _RANGE), usual_gain * _RANGE)
    sound = _bent(np.asarray(samples * np.float32(gain * volume), dtype=np.float32))
    return np.pad(sound, (0, round(silence * sample_rate))) if silence else sound


def gain_of(samples: Any, sample_rate: int) -> float | None:
    """Say by what to multiply speech to bring it to `LOUDNESS`; ``None`` where there is none."""
    import numpy as np

    frame = max(1, round(sample_rate * _FRAME_SECONDS))
    count = len(samples) // frame
    if not count:
        return None
    powers = np.square(samples[: count * frame], dtype="float64").reshape(count, frame).mean(1)
    loudest = powers.max()
    if not loudest > 0:
        return None
    level = np.sqrt(powers[powers > loudest * _SILENCE**2].mean())
    return float(LOUDNESS / level)


def _bent(samples: Any) -> Any:
    """Bend what would go beyond full scale below it: cut off, it would crackle."""
    import numpy as np

    loud = np.abs(samples) > _KNEE
    if loud.any():
        room = 1.0 - _KNEE
        over = (np.abs(samples[loud]) - _KNEE) / room
        samples[loud] = np.sign(samples[loud]) * (_KNEE + room * np.tanh(over))
    return samples
