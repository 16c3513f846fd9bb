"""Echo backends for sound: a voice that writes text into samples, an ear that reads it there."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from blazen.bridge import StreamJob
from blazen.checks import check_choice
from blazen.errors import UnsupportedError
from blazen.protocols.transcription import Transcription
from blazen.protocols.tts import TTS
from blazen.testing.echo_engine import EchoBackend, EchoEngine
from blazen.types.audio import Audio
from blazen.types.live import LiveAudio
from blazen.types.speech import SpeechOptions, SpeechStream, as_speakable
from blazen.types.stream import Source
from blazen.types.transcription import (
    Segment,
    TranscriptionChunk,
    TranscriptionRequest,
    TranscriptionStream,
    Word,
    as_request,
)

SAMPLE_RATE = 16_000
VOICES = ("echo", "whisper")

# A byte is a square wave of this many samples, as loud as the byte is large: 16 bits hold that.
_BLOCK = 160
_LEVELS = 512


class EchoTTS(EchoBackend, TTS):
    """A voice whose sound holds the text itself: `EchoTranscription` reads it back."""

    def speak_stream(self, text: str, options: SpeechOptions | None = None) -> SpeechStream:
        """Speak word by word."""
        chosen = SpeechOptions.of(options)
        check_choice("the echo's voice", chosen.voice, (*VOICES, None))
        # A quieter voice would say other bytes: the volume is the message.
        if chosen.volume not in (None, 1):
            raise UnsupportedError(f"the echo has one volume, 1.0, not {chosen.volume!r}")
        block = max(2, round(_BLOCK / (chosen.speed or 1.0)))
        words = re.findall(r"\s*\S+", as_speakable(text).rstrip())
        return SpeechStream(lambda: self._source(_sound, words, block))


class EchoTranscription(EchoBackend, Transcription):
    """An ear for the voice of `EchoTTS`; other sound is gibberish to it, and silence nothing.

    Live sound it hears once that has ended.
    """

    def transcribe_stream(self, request: TranscriptionRequest | Any) -> TranscriptionStream:
        """Read the text out of the sound, a segment a word."""
        asked = as_request(request)
        if asked.language not in (None, "auto", "echo"):
            raise UnsupportedError(f"the echo hears the language 'echo', not {asked.language!r}")
        if asked.diarize:
            raise UnsupportedError("the echo has one voice: leave diarize=True out")
        return TranscriptionStream(lambda: self._heard(asked))

    async def _heard(self, asked: TranscriptionRequest) -> Source[TranscriptionChunk]:
        if isinstance(asked.audio, LiveAudio):
            asked = replace(asked, audio=await asked.audio.collect(sample_rate=SAMPLE_RATE))
        return await self._source(_hear, asked)


def _sound(engine: EchoEngine, job: StreamJob[Audio], words: list[str], block: int) -> None:
    for word in engine.work(job, words):
        job.emit(Audio.from_samples(_waves(word.encode("utf-8", "replace"), block), SAMPLE_RATE))


def _waves(text: bytes, block: int) -> array[float]:
    samples = array("f")
    for byte in text:
        level = (byte + 1) / _LEVELS
        samples.extend((level, -level) * (block // 2))
    return samples


def _hear(
    engine: EchoEngine, job: StreamJob[TranscriptionChunk], request: TranscriptionRequest
) -> None:
    assert isinstance(request.audio, Audio)
    samples = request.audio.to_samples(sample_rate=SAMPLE_RATE, channels=1)
    duration = len(samples) / SAMPLE_RATE
    job.emit(TranscriptionChunk("", language="echo", duration=duration, position=0.0))
    for text, start, end in engine.work(job, _heard(samples)):
        words = (Word(text.strip(), start, end),) if request.words else ()
        segment = Segment(text.strip(), start, end, words)
        job.emit(TranscriptionChunk(text, segment, position=end))


def _heard(samples: Any) -> Iterator[tuple[str, float, float]]:
    """Give each word with its times, in seconds."""
    spoken = bytearray()
    first = 0
    blocks = range(0, len(samples) - _BLOCK + 1, _BLOCK)
    for place in blocks:
        level = float(abs(samples[place : place + _BLOCK]).mean())
        byte = min(255, round(level * _LEVELS) - 1)
        if byte == ord(" ") and spoken.strip():
            yield spoken.decode("utf-8", "replace"), first / SAMPLE_RATE, place / SAMPLE_RATE
            spoken, first = bytearray(), place
        if byte >= 0:
            spoken.append(byte)
    if spoken.strip():
        end = (blocks[-1] + _BLOCK) / SAMPLE_RATE
        yield spoken.decode("utf-8", "replace"), first / SAMPLE_RATE, end
