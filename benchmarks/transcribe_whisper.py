"""Whisper's real-time factor by itself and in blazen, and the loop's lag meanwhile."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.apart import Apart, medians_in_turns
from benchmarks.loop_lag import lag_during
from benchmarks.speak_piper import TEXT
from blazen import TTS, Audio, Transcription, TranscriptionRequest, blocking
from blazen.hardware import thread_budget
from blazen.weights.starter import starter_path

REPEATS = 3
ROUNDS = 7


class Raw:
    """pywhispercpp as its own documentation uses it, each window heard by itself as blazen does."""

    def __init__(self, threads: int) -> None:
        from pywhispercpp.model import Model

        self._model = Model(
            str(starter_path("transcribe")),
            n_threads=threads,
            redirect_whispercpp_logs_to=None,
            print_progress=False,
            n_max_text_ctx=0,
        )

    def transcribe(self, path: str) -> tuple[float, str]:
        """Give the seconds that it took, and what was said."""
        begun = time.perf_counter()
        segments = self._model.transcribe(path, language="en")
        return time.perf_counter() - begun, " ".join(segment.text for segment in segments)

    def close(self) -> None:
        """Give the memory back."""
        del self._model


class Ours:
    """blazen, loaded, on a loop of its own."""

    def __init__(self, threads: int, vad: bool) -> None:
        self._loop = asyncio.new_event_loop()
        self._model = Transcription.whispercpp(
            "starter:transcribe", threads=threads, device="cpu", vad=vad
        )
        self._loop.run_until_complete(self._model.load())

    def transcribe(self, path: str) -> tuple[float, str]:
        """Transcribe a file, as `Raw.transcribe` does."""
        return self._loop.run_until_complete(self._transcribe(path))

    def lag(self, path: str) -> dict[str, float]:
        """Transcribe a file twice at once, and say how late the loop came meanwhile."""
        return self._loop.run_until_complete(
            lag_during(*(self._transcribe(path) for _ in range(2)))
        )

    async def _transcribe(self, path: str) -> tuple[float, str]:
        begun = time.perf_counter()
        answer = await self._model.transcribe(TranscriptionRequest.from_file(path, language="en"))
        return time.perf_counter() - begun, answer.text

    def close(self) -> None:
        """Give the memory back."""
        self._loop.run_until_complete(self._model.unload())
        self._loop.close()


def run(rounds: int = ROUNDS, repeats: int = REPEATS) -> dict[str, Any]:
    """Seconds of work for a second of sound, all in turns."""
    threads = thread_budget(None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        seconds = _speak(path, repeats)
        with (
            Apart(Raw, threads) as raw,
            Apart(Ours, threads, vad=False) as plain,
            Apart(Ours, threads, vad=True) as vad,
        ):
            ways = {"raw": raw, "blazen": plain, "blazen_with_vad": vad}

            def factor(name: str, way: Apart) -> float:
                took, text = way.ask("transcribe", str(path))
                assert text.lower().count("lighthouse") >= repeats, f"{name}: {text!r}"
                return float(took) / seconds

            medians = medians_in_turns(ways, factor, rounds)
            lag = vad.ask("lag", str(path))
    return {
        "ratio": medians["blazen"] / medians["raw"],
        "with_vad_ratio": medians["blazen_with_vad"] / medians["raw"],
        **{f"{name}_real_time_factor": value for name, value in medians.items()},
        "loop_lag": lag,
        "seconds_of_sound": seconds,
        "rounds": rounds,
        "threads": threads,
    }


def _speak(path: Path, repeats: int) -> float:
    """Write a file of speech, in the one form that the raw engine takes by itself."""
    voice = TTS.piper("starter:speak")
    spoken = blocking(voice).speak(TEXT)
    blocking(voice).unload()
    sound = Audio.join([spoken] * repeats)
    Audio.from_samples(sound.to_samples(), 16_000).save(path)
    return sound.duration
