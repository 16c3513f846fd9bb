"""Sound as bytes that can be sent before its end is known."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from blazen.extras import need
from blazen.types import audio_codec as codec
from blazen.types.audio import Audio

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

PCM_RATE = 24_000
"""Samples a second of bare PCM, which can't say it: as OpenAI's API has it."""

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}

# A format's container, its codec, and what has the container write without going back.
_CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0"}),
    "opus": ("ogg", "libopus", {"page_duration": "200000"}),
    "aac": ("adts", "aac", {}),
    "flac": ("flac", "flac", {}),
}


class SpeechFile:
    """A file of one channel that grows: `push` gives the bytes of a piece, `finish` the last."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._rate = 0
        self._begun = False
        self._out = _Out()
        self._container: Any = None
        self._stream: Any = None
        self._converter: codec.Converter | None = None
        self._position = 0

    def push(self, audio: Audio) -> bytes:
        """Give what can be sent once this piece is in."""
        if not self._begun:
            self._begin(audio.sample_rate)
        for frame in codec.array_frames(audio.samples, audio.sample_rate):
            if self._converter is None or not self._converter.takes(frame):
                self._flush()
                self._converter = codec.Converter(frame, self._rate, 1)
            for samples in self._converter.push(frame):
                self._write(samples)
        return self._out.taken()

    def finish(self) -> bytes:
        """Give the rest."""
        if not self._begun:
            self._begin(PCM_RATE)
        self._flush()
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._out.taken()

    def _begin(self, rate: int) -> None:
        self._begun = True
        if self._form == "pcm":
            self._rate = PCM_RATE
        elif self._form == "wav":
            self._rate = rate
            self._out.write(_wav_header(rate))
        else:
            av = need("av", extra="audio", what="writing sound")
            container, name, options = _CODECS[self._form]
            known = av.codec.Codec(name, "w").audio_rates or [rate]
            self._rate = min((each for each in known if each >= rate), default=max(known))
            options = {"flush_packets": "1", **options}
            self._container = av.open(self._out, "w", format=container, options=options)
            self._stream = self._container.add_stream(name, rate=self._rate)
            self._stream.layout = "mono"
            if self._form == "flac":
                self._stream.format = "s16"

    def _flush(self) -> None:
        converter, self._converter = self._converter, None
        if converter is not None:
            for samples in converter.push(None):
                self._write(samples)

    def _write(self, samples: Floats) -> None:
        if not len(samples):
            return
        if self._container is None:
            self._out.write(codec.to_pcm16(samples))
            return
        for frame in codec.array_frames(samples, self._rate):
            frame.pts = self._position
            frame.time_base = Fraction(1, self._rate)
            self._position += frame.samples
            self._container.mux(self._stream.encode(frame))


class _Out:
    """A file that can only be written on, and forgets what was taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def _wav_header(rate: int) -> bytes:
    """Give the head of a WAV that does not know its length: players read it to its end."""
    endless = 0xFFFFFFFF
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", endless, b"WAVE")
        + form
        + struct.pack("<4sI", b"data", endless)
    )
