"""Kokoro's real-time factor: its session by itself and blazen on it, in turns."""

from __future__ import annotations

import asyncio
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
    "Outside, the wind had turned to the north, and the gulls were quiet. "
    "Seven ships lay at anchor in the bay. "
    "Nobody on the quay could say where they were from."
)
SENTENCES = 4
VOICE = "jf_gongitsune"
ROUNDS = 7

Spoken = dict[str, float]


class Raw:
    """The session as those use it who drive it themselves, given the phonemes for nothing."""

    def __init__(self, threads: int) -> None:
        import numpy
        import onnxruntime

        from blazen.speech.utterances import Utterance, spoken
        from blazen_kokoro.phonemes import in_vocabulary, to_phonemes
        from blazen_kokoro.vocabulary import VOCABULARY

        path = starter_path("speak-kokoro")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        with numpy.load(path.parent / "voices_ja.npz", allow_pickle=False) as archive:
            style = archive[VOICE]
        self._feeds = []
        for utterance in spoken(TEXT, language="en-us", pause=0):
            assert isinstance(utterance, Utterance)
            symbols = in_vocabulary(to_phonemes(utterance.text, "en-us", iter(())), VOCABULARY)
            tokens = [VOCABULARY[symbol] for symbol in symbols]
            self._feeds.append(
                {
                    "tokens": numpy.array([[0, *tokens, 0]]),
                    "style": style[len(tokens)],
                    "speed": numpy.array([1.0], dtype="float32"),
                }
            )

    def speak(self) -> Spoken:
        """Speak the text; give the seconds until the first sound and until the end."""
        from blazen_kokoro.sound import RATE, trimmed

        begun, first, samples = time.perf_counter(), 0.0, 0
        for feeds in self._feeds:
            sound = self._session.run(None, feeds)[0]
            first = first or time.perf_counter() - begun
            samples += len(trimmed(sound))
        return {"first": first, "whole": time.perf_counter() - begun, "sound": samples / RATE}

    def close(self) -> None:
        """Give the memory back."""
        del self._session


class Ours:
    """blazen, loaded, on a loop of its own."""

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._model = TTS.kokoro("starter:speak-kokoro", threads=threads, voice=VOICE, pause=0)
        self._loop.run_until_complete(self._model.load())

    def speak(self) -> Spoken:
        """Speak the text, as `Raw.speak` does."""
        return self._loop.run_until_complete(self._speak())

    def lag(self) -> dict[str, float]:
        """Speak the text, and say how late the loop came meanwhile."""
        return self._loop.run_until_complete(self._lag())

    async def _speak(self) -> Spoken:
        begun, first, sound = time.perf_counter(), 0.0, 0.0
        async for piece in self._model.speak_stream(TEXT):
            first = first or time.perf_counter() - begun
            sound += piece.duration
        return {"first": first, "whole": time.perf_counter() - begun, "sound": sound}

    async def _lag(self) -> dict[str, float]:
        ticker = _Ticker()
        task = asyncio.create_task(ticker.run())
        await self._speak()
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
                spoken[name] = way.ask("speak")
                if number:  # the first round warms up
                    times[name].append(spoken[name]["whole"] / spoken[name]["sound"])
            assert abs(spoken["raw"]["sound"] - spoken["blazen"]["sound"]) < 0.05, spoken
            firsts.append(spoken["blazen"]["first"] / spoken["blazen"]["whole"])
        lag = ours.ask("lag")
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
