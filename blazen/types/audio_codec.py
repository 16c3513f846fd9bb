"""Decoding, resampling and encoding of sound, a piece at a time, through FFmpeg (PyAV)."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from blazen.errors import ValidationError
from blazen.extras import need
from blazen.types.source import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

log = logging.getLogger("blazen")

MAX_CHANNELS = 8
MAX_RATE = 768_000
MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
}
# Format: container, codec and the most channels it holds. Free FFmpeg builds carry no good Vorbis
# encoder, so Ogg is written with Opus.
_ENCODERS = {
    "flac": ("flac", "flac", 8),
    "mp3": ("mp3", "libmp3lame", 2),
    "ogg": ("ogg", "libopus", 8),
    "m4a": ("ipod", "aac", 6),
}
_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
# FFmpeg also reads playlists, which open further files and URLs; sound needs none of them.
_CONTAINERS = (
    "wav,w64,flac,mp3,ogg,mov,mp4,m4a,matroska,webm,aac,aiff,au,caf,amr,asf,ac3,eac3,avi,mpegts,flv"
)


_MISSED_SECONDS = 0.4
"""So much less than a file names is a cut, and no rounding of its codec."""


class Shape(NamedTuple):
    """What a file's header says about its sound."""

    sample_rate: int
    channels: int
    frames: int | None


def _av() -> Any:
    return need("av", extra="audio", what="reading and writing sound")


def probe(source: Source) -> Shape:
    """Read the header only."""
    with _opened(source) as (container, stream):
        context = stream.codec_context
        rate = context.sample_rate
        frames = None
        if stream.duration:
            frames = round(stream.duration * stream.time_base * rate)
        elif container.duration:
            frames = round(container.duration * rate / 1_000_000)
        return Shape(rate, len(context.layout.channels), frames)


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[tuple[Any, Any]]:
    av = _av()
    options = {"format_whitelist": _CONTAINERS}
    with source.open() as file:
        try:
            container = av.open(file, options=options, metadata_errors="ignore")
        except (av.error.FFmpegError, OSError) as error:
            raise ValidationError(f"{source.name} is not sound that can be read") from error
        with container:
            if not container.streams.audio:
                raise ValidationError(f"{source.name} has no audio track")
            stream = container.streams.audio[0]
            context = stream.codec_context
            if context is None or not context.sample_rate or not context.layout.channels:
                raise ValidationError(f"{source.name} has no audio track that can be decoded")
            yield container, stream


def file_frames(source: Source) -> Iterator[Any]:
    """Decode a file frame by frame, passing over damaged packets as players do.

    A warning tells at the end how much of it could not be read.
    """
    av = _av()
    good = bad = 0
    seconds = 0.0
    cause: Exception | None = None
    with _opened(source) as (container, stream):
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                frames = packet.decode()
            except av.error.FFmpegError as error:
                bad, cause = bad + 1, error
                if not isinstance(error, av.error.InvalidDataError):
                    break
                continue
            good += len(frames)
            seconds += sum(frame.samples / frame.sample_rate for frame in frames)
            yield from frames
        # MP3 and AAC are found by scanning, so that any text can pass for an empty one.
        scanned = container.format.name in {"mp3", "aac"}
        # Bare AAC names no length: FFmpeg guesses one.
        named = container.format.name != "aac" and stream.duration
        missed = float(stream.duration * stream.time_base) - seconds if named else 0.0
    if bad > good or (scanned and not good):
        raise ValidationError(f"{source.name} is damaged, or is not sound") from cause
    if bad or missed > _MISSED_SECONDS:
        log.warning(
            "%s is damaged or cut off: %.1f seconds of it could be read%s",
            *(source.name, seconds, f", of {seconds + missed:.1f}" if missed > 0 else ""),
        )


def array_frames(samples: Floats, sample_rate: int) -> Iterator[Any]:
    """Cut an array of shape (n,) or (n, channels) into FFmpeg's frames, a second each."""
    av = _av()
    layout = _LAYOUTS[0 if samples.ndim == 1 else samples.shape[1] - 1]
    for start in range(0, len(samples), sample_rate):
        piece = samples[start : start + sample_rate]
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = sample_rate
        yield frame


def converted(frames: Iterable[Any], sample_rate: int, channels: int) -> Iterator[Floats]:
    """Resample and mix; gives flat float32 pieces with the channels interleaved."""
    import numpy as np

    graph: Converter | None = None
    for frame in frames:
        if graph is None or not graph.takes(frame):
            # A chained file may change its rate in the middle.
            if graph is not None:
                yield from graph.push(None)
            graph = Converter(frame, sample_rate, channels)
        yield from graph.push(frame)
    if graph is not None:
        yield from graph.push(None)
    else:
        yield np.zeros(0, np.float32)


class Converter:
    """FFmpeg's resampler, set up for frames like the first one."""

    def __init__(self, frame: Any, sample_rate: int, channels: int) -> None:
        av = _av()
        self._av = av
        self._key = self._key_of(frame)
        rate, sample_format, layout = self._key
        count = len(frame.layout.channels)
        # FFmpeg would make one channel quieter when it spreads it; it is copied instead.
        self._copies = channels if count == 1 else 1
        target = layout if count in (channels, 1) else _LAYOUTS[channels - 1]
        graph = av.filter.Graph()
        source = graph.add(
            "abuffer",
            sample_rate=str(rate),
            sample_fmt=sample_format,
            channel_layout=layout,
            time_base=f"1/{rate}",
        )
        # Without the limit, mixing down adds the channels up to more than full scale.
        mixer = graph.add("aresample", rematrix_maxval="1.0")
        shape = graph.add(
            "aformat",
            sample_rates=str(sample_rate),
            sample_fmts="flt",
            channel_layouts=target,
        )
        sink = graph.add("abuffersink")
        source.link_to(mixer)
        mixer.link_to(shape)
        shape.link_to(sink)
        try:
            graph.configure()
        except av.error.FFmpegError as error:
            raise ValidationError(
                f"cannot turn {rate} Hz {layout!r} into {sample_rate} Hz {target!r}: {error}"
            ) from error
        self._graph = graph

    @staticmethod
    def _key_of(frame: Any) -> tuple[int, str, str]:
        return frame.sample_rate, frame.format.name, frame.layout.name

    def takes(self, frame: Any) -> bool:
        """Say whether a frame is like the first one."""
        return self._key_of(frame) == self._key

    def push(self, frame: Any | None) -> Iterator[Floats]:
        """Give what a frame becomes; ``None`` ends the sound, and gives what was held back."""
        import numpy as np

        if frame is not None:
            frame.pts = None
        self._graph.push(frame)
        while True:
            try:
                piece: Floats = self._graph.pull().to_ndarray().reshape(-1)
            except (EOFError, self._av.error.BlockingIOError):
                return
            if not np.isfinite(piece).all():
                raise ValidationError("the sound has samples that are NaN or infinite")
            yield piece if self._copies == 1 else np.repeat(piece, self._copies)


def collect(pieces: Iterable[Floats], channels: int) -> Floats:
    """Join pieces to one array of shape (n,) or (n, channels)."""
    import numpy as np

    data = bytearray()  # grows in place, where joining a list would need twice the memory
    for piece in pieces:
        data += piece.data
    flat = np.frombuffer(data, np.float32)
    return flat if channels == 1 else flat.reshape(-1, channels)


def regrouped(pieces: Iterable[Floats], size: int, channels: int) -> Iterator[Floats]:
    """Cut pieces anew, into blocks of `size` frames; the last may be shorter."""
    import numpy as np

    wanted = size * channels * 4
    data = bytearray()
    for piece in pieces:
        data += piece.data
        start = 0
        while len(data) - start >= wanted:
            block = np.frombuffer(bytes(data[start : start + wanted]), np.float32)
            yield block if channels == 1 else block.reshape(-1, channels)
            start += wanted
        del data[:start]
    if data:
        block = np.frombuffer(bytes(data), np.float32)
        yield block if channels == 1 else block.reshape(-1, channels)


def to_pcm16(samples: Floats) -> bytes:
    """Give 16-bit little-endian PCM; what is louder than full scale is clipped."""
    import numpy as np

    scaled = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767)
    data: bytes = scaled.astype("<i2").tobytes()
    return data


def is_pcm16(samples: Floats) -> bool:
    """Say whether 16 bits hold these samples without loss."""
    import numpy as np

    scaled = samples * np.float32(32768)
    return bool(
        np.all(scaled == np.rint(scaled)) and np.all(scaled >= -32768) and np.all(scaled <= 32767)
    )


def write_wav(
    out: BinaryIO, pieces: Iterable[Floats], rate: int, channels: int, *, floats: bool = False
) -> None:
    """Write a WAV of 16-bit or 32-bit float samples, without any engine."""
    width = 4 if floats else 2
    size = 0
    out.write(bytes(44))
    for piece in pieces:
        size += out.write(piece.astype("<f4").tobytes() if floats else to_pcm16(piece))
        if size > 0xFFFFFFFF - 44:
            raise ValidationError("more than 4 GiB of sound does not fit into a WAV: use FLAC")
    out.write(bytes(size % 2))
    out.seek(0)
    form = (
        3 if floats else 1,
        channels,
        rate,
        rate * channels * width,
        channels * width,
        width * 8,
    )
    out.write(struct.pack("<4sI4s4sI", b"RIFF", 36 + size + size % 2, b"WAVE", b"fmt ", 16))
    out.write(struct.pack("<HHIIHH4sI", *form, b"data", size))
    out.seek(0, 2)


def write_encoded(out: BinaryIO, frames: Iterable[Any], shape: Shape, format: str) -> None:  # noqa: A002 - the word of `save`
    """Encode frames as FLAC, MP3, Ogg Opus or M4A (AAC)."""
    av = _av()
    container_name, codec_name, most = _ENCODERS[format]
    codec = av.codec.Codec(codec_name, "w")
    channels = min(shape.channels, most)
    rate = _nearest_rate(shape.sample_rate, codec.audio_rates)
    position = 0
    try:
        with av.open(out, "w", format=container_name) as container:
            stream = container.add_stream(codec_name, rate=rate)
            stream.layout = _LAYOUTS[channels - 1]
            if format == "flac":
                stream.format = "s16"
            container.start_encoding()
            pieces = converted(frames, rate, channels)
            for block in regrouped(pieces, rate, channels):
                (frame,) = array_frames(block, rate)
                frame.pts = position
                frame.time_base = Fraction(1, rate)
                position += len(block)
                container.mux(stream.encode(frame))
            if not position and format != "flac":
                raise ValidationError(f"there is no sound to put into {format}: it has no samples")
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise ValidationError(
            f"{shape.sample_rate} Hz with {shape.channels} channels does not go into {format}: "
            f"{error}"
        ) from error


def _nearest_rate(rate: int, known: Iterable[int] | None) -> int:
    if not known:
        return rate
    return min((r for r in known if r >= rate), default=max(known))
