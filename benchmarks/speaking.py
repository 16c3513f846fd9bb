"""A voice in blazen beside the engine that it runs on: what is measured of each."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.apart import Apart, medians_in_turns
from benchmarks.loop_lag import lag_during
from blazen import TTS

Spoken = dict[str, float]
"""The seconds until the first sound and until the end, and how many seconds of sound there are."""


class Speaker:
    """A voice of blazen, loaded, on a loop of its own; it speaks one text."""

    def __init__(self, spec: str, text: str, **options: Any) -> None:
        self._loop, self._text = asyncio.new_event_loop(), text
        model: Any = TTS.from_spec(spec, **options)
        self._model = model
        self._loop.run_until_complete(self._model.load())

    def speak(self) -> Spoken:
        """Speak the text."""
        return self._loop.run_until_complete(self._speak())

    def lag(self, requests: int) -> dict[str, float]:
        """Speak it several times at once, and say how late the loop came meanwhile."""
        return self._loop.run_until_complete(lag_during(*(self._speak() for _ in range(requests))))

    async def _speak(self) -> Spoken:
        begun, first, sound = time.perf_counter(), 0.0, 0.0
        async for piece in self._model.speak_stream(self._text):
            first = first or time.perf_counter() - begun
            sound += piece.duration
        return {"first": first, "whole": time.perf_counter() - begun, "sound": sound}

    def close(self) -> None:
        """Give the memory back."""
        self._loop.run_until_complete(self._model.unload())
        self._loop.close()


def compare(
    raw: Apart, ours: Apart, *, rounds: int, requests: int, tolerance: float
) -> dict[str, Any]:
    """Give the seconds of work for a second of sound, the first sound's place, the loop's lag.

    Both must make as much sound: they may differ by ``tolerance`` seconds.
    """
    sounds: dict[str, float] = {}
    firsts = []

    def factor(name: str, way: Apart) -> float:
        spoken: Spoken = way.ask("speak")
        sounds[name] = spoken["sound"]
        assert max(sounds.values()) - min(sounds.values()) < tolerance, sounds
        if way is ours:
            firsts.append(spoken["first"] / spoken["whole"])
        return spoken["whole"] / spoken["sound"]

    medians = medians_in_turns({"raw": raw, "blazen": ours}, factor, rounds)
    return {
        "real_time_factor_ratio": medians["blazen"] / medians["raw"],
        "raw_real_time_factor": medians["raw"],
        "blazen_real_time_factor": medians["blazen"],
        "first_sound_of_whole_ratio": statistics.median(firsts[1:]),
        "loop_lag": ours.ask("lag", requests),
    }
