"""Piper's real-time factor by itself and in blazen, the first sound of a text, the loop's lag."""

from __future__ import annotations

import json
import time
from typing import Any

from benchmarks.apart import Apart
from benchmarks.speaking import Speaker, Spoken, compare
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

    def speak(self) -> Spoken:
        """Speak the text."""
        begun, first, samples = time.perf_counter(), 0.0, 0
        for chunk in self._voice.synthesize(TEXT, self._settings):
            first = first or time.perf_counter() - begun
            samples += len(chunk.audio_float_array)
        whole = time.perf_counter() - begun
        return {"first": first, "whole": whole, "sound": samples / chunk.sample_rate}

    def close(self) -> None:
        """Give the memory back."""
        del self._voice


def run() -> dict[str, Any]:
    """Seconds of work for a second of sound, both in turns."""
    threads = thread_budget(None)
    still = {"noise": 0, "rhythm_noise": 0, "pause": 0}
    with (
        Apart(Raw, threads) as raw,
        Apart(Speaker, "piper:starter:speak", TEXT, threads=threads, **still) as ours,
    ):
        figures = compare(raw, ours, rounds=ROUNDS, requests=2, tolerance=0.01)
    return {**figures, "sentences": SENTENCES, "rounds": ROUNDS, "threads": threads}
