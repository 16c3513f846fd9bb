"""Piper's real-time factor by itself and in blazen, the first sound of a text, the loop's lag."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from benchmarks.apart import Apart
from benchmarks.chat_loop_lag import _Ticker
from blazen import TTS
from blazen.hardware import thread_budget
from blazen.weights.starter import starter_path

TEXT = (
    "The keeper of the lighthouse rose before the sun. "
    "He lit the stove and put the kettle on. "
    "Outside, the wind had turned to the north, and the gulls were quiet. "
    "Seven ships lay at anchor in the bay. "
    "He knew each of them by the cut of its sails. "
    "The eldest had carried grain for half a century. "
    "The youngest had come in the night, without a lamp. "
    "Nobody on the quay could say where it was from. "
    "He wrote its name into the book, and then he counted them again. "
    "There were eight."
)
SENTENCES = 10
ROUNDS = 9

Spoken = dict[str, float]


class Raw:
    """piper-tts as its own documentation uses it, but for the number of threads."""

    def __init__(self, threads: int) -> None:
        import onnxruntime
        from piper import PiperVoice, SynthesisConfig
        from piper.config import PiperConfig

        path = starter_path("speak")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        with path.with_name(f"{path.name}.json").open(encoding="utf-8") as file:
            config = PiperConfig.from_dict(json.load(file))
        self._voice = PiperVoice(session=session, config=config)
        # Without chance in it, both speak the very same sound.
        self._settings = SynthesisConfig(noise_scale=0, noise_w_scale=0)

    def speak(self, text: str) -> Spoken:
        """Speak a text; give the seconds until the first sound, until the end, and of sound."""
        begun, first, samples = time.perf_counter(), 0.0, 0
        for chunk in self._voice.synthesize(text, self._settings):
            first = first or time.perf_counter() - begun
            samples += len(chunk.audio_float_array)
        whole = time.perf_counter() - begun
        return {"first": first, "whole": whole, "sound": samples / chunk.sample_rate}

    def close(self) -> None:
        """Give the memory back."""
        del self._voice


class Ours:
    """blazen, loaded, on a loop of its own."""

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._model = TTS.piper("starter:speak", threads=threads, noise=0, rhythm_noise=0, pause=0)
        self._loop.run_until_complete(self._model.load())

    def speak(self, text: str) -> Spoken:
        """Speak a text, as `Raw.speak` does."""
        return self._loop.run_until_complete(self._speak(text))

    def lag(self, text: str, requests: int) -> dict[str, float]:
        """Speak a text several times at once, and say how late the loop came meanwhile."""
        return self._loop.run_until_complete(self._lag(text, requests))

    async def _speak(self, text: str) -> Spoken:
        begun, first, sound = time.perf_counter(), 0.0, 0.0
        async for piece in self._model.speak_stream(text):
            first = first or time.perf_counter() - begun
            sound += piece.duration
        return {"first": first, "whole": time.perf_counter() - begun, "sound": sound}

    async def _lag(self, text: str, requests: int) -> dict[str, float]:
        ticker = _Ticker()
        task = asyncio.create_task(ticker.run())
        await asyncio.gather(*(self._speak(text) for _ in range(requests)))
        task.cancel()
        return ticker.figures()

    def close(self) -> None:
        """Give the memory back."""
        self._loop.run_until_complete(self._model.unload())
        self._loop.close()


def run() -> dict[str, Any]:
    """Seconds of work for a second of sound, both in turns; who begins changes each time."""
    threads = thread_budget(None)
    with Apart(Raw, threads) as raw, Apart(Ours, threads) as ours:
        times: dict[str, list[float]] = {"raw": [], "blazen": []}
        firsts = []
        for number in range(ROUNDS + 1):
            ways = [("raw", raw), ("blazen", ours)]
            spoken = {}
            for name, way in ways if number % 2 else reversed(ways):
                spoken[name] = way.ask("speak", TEXT)
                if number:  # the first round warms up
                    times[name].append(spoken[name]["whole"] / spoken[name]["sound"])
            assert abs(spoken["raw"]["sound"] - spoken["blazen"]["sound"]) < 0.01, spoken
            firsts.append(spoken["blazen"]["first"] / spoken["blazen"]["whole"])
        lag = ours.ask("lag", TEXT, 2)
    print({name: [round(v, 4) for v in values] for name, values in times.items()}, file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "real_time_factor_ratio": medians["blazen"] / medians["raw"],
        "raw_real_time_factor": medians["raw"],
        "blazen_real_time_factor": medians["blazen"],
        "first_sound_of_whole_ratio": statistics.median(firsts[1:]),
        "loop_lag": lag,
        "sentences": SENTENCES,
        "rounds": ROUNDS,
        "threads": threads,
    }
