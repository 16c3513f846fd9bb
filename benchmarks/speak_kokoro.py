"""Kokoro's real-time factor: its session by itself and blazen on it, in turns."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.apart import Apart
from benchmarks.speaking import Speaker, Spoken, compare
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


class Raw:
    """The session as those use it who drive it themselves, given the phonemes for nothing."""

    def __init__(self, threads: int) -> None:
        import numpy
        import onnxruntime

        from blazen.speech.utterances import Utterance, spoken
        from blazen_kokoro.given import Given
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
            symbols = in_vocabulary(
                to_phonemes(utterance.text, "en-us", Given(VOCABULARY)), VOCABULARY
            )
            tokens = [VOCABULARY[symbol] for symbol in symbols]
            self._feeds.append(
                {
                    "tokens": numpy.array([[0, *tokens, 0]]),
                    "style": style[len(tokens)],
                    "speed": numpy.array([1.0], dtype="float32"),
                }
            )

    def speak(self) -> Spoken:
        """Speak the text."""
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


def run() -> dict[str, Any]:
    """Seconds of work for a second of sound, both in turns."""
    threads = thread_budget(None)
    options = {"threads": threads, "voice": VOICE, "pause": 0}
    with (
        Apart(Raw, threads) as raw,
        Apart(Speaker, "kokoro:starter:speak-kokoro", TEXT, **options) as ours,
    ):
        figures = compare(raw, ours, rounds=ROUNDS, requests=1, tolerance=0.05)
    return {**figures, "sentences": SENTENCES, "rounds": ROUNDS, "threads": threads}
