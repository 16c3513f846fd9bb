"""Sound: from a file, bytes, a URL or samples, to what an engine, a file or a notebook needs."""

from __future__ import annotations

import html
import io
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from blazen.checks import check_choice, check_range
from blazen.errors import BlazenError, UnsupportedError, ValidationError
from blazen.extras import need
from blazen.types import audio_codec as codec
from blazen.types.route import Route
from blazen.types.source import Source, data_url, embed, write_file

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

_VIEW_LIMIT = 25 * 1024 * 1024


class Audio:
    """A piece of sound, which never changes.

    Make one with `of`, or with `from_file`, `from_bytes`, `from_url`, `from_data_url` or
    `from_samples`. A file is decoded when its samples are first asked for, and only once. Arrays
    that come out are read-only, because later calls give them again: copy one to change it.
    """

    __slots__ = ("_converted", "_rate", "_samples", "_shape", "_source", "route")
    kind: ClassVar[str] = "audio"

    def __init__(
        self, source: Source | None = None, *, samples: Floats | None = None, sample_rate: int = 0
    ) -> None:
        self._source = source
        self._samples = samples
        self._rate = sample_rate
        self._shape: codec.Shape | None = None
        self._converted: tuple[tuple[int, int], Floats] | None = None
        self.route: Route | None = None
        """Which of a manager's models spoke, where there was a choice."""

    @classmethod
    def of(cls, value: Any) -> Audio:
        """Take sound in any form: an `Audio`, a path, URL, data URL, bytes, or (samples, rate)."""
        if isinstance(value, Audio):
            return value
        if isinstance(value, str):
            return cls(Source.from_text(value, what="audio"))
        if isinstance(value, os.PathLike):
            return cls.from_file(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return cls.from_bytes(value)
        if isinstance(value, tuple) and len(value) == 2:
            return cls.from_samples(*value)
        if hasattr(value, "__array__"):
            raise ValidationError(
                "an array alone has no sample rate: give (samples, sample_rate), "
                "or use Audio.from_samples(samples, sample_rate)"
            )
        raise ValidationError(
            "audio is given as an Audio, a path, a URL, bytes, or (samples, sample_rate), "
            f"not as {type(value).__name__}"
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Audio:
        """Take a sound file (WAV, FLAC, MP3, OGG, M4A and more); it is read when needed."""
        return cls(Source.from_file(path, what="audio"))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Audio:
        """Take the bytes of a sound file."""
        return cls(Source.from_bytes(data, what="audio"))

    @classmethod
    def from_url(cls, url: str) -> Audio:
        """Take an http or https URL; it is fetched when the sound is needed here."""
        return cls(Source.from_url(url, what="audio"))

    @classmethod
    def from_data_url(cls, text: str) -> Audio:
        """Take a ``data:`` URL."""
        return cls(Source.from_data_url(text, what="audio"))

    @classmethod
    def from_samples(cls, samples: Any, sample_rate: int) -> Audio:
        """Take samples: shape (n,) for mono, or (n, channels).

        Floats have full scale at -1 and 1; integers of 8, 16 and 32 bits are scaled to that. Lists
        and ``array.array`` do too. The samples are copied.
        """
        return cls(samples=_to_floats(samples), sample_rate=_rate(sample_rate))

    @classmethod
    def join(cls, pieces: Iterable[Any]) -> Audio:
        """Put sounds one after another, at the first one's sample rate and the most channels."""
        np = need("numpy", extra="audio", what="joining audio")
        sounds = [cls.of(piece) for piece in pieces]
        if not sounds:
            raise ValidationError("nothing to join: give at least one piece of audio")
        rate, channels = sounds[0].sample_rate, max(sound.channels for sound in sounds)
        arrays = [sound.to_samples(sample_rate=rate, channels=channels) for sound in sounds]
        joined: Floats = np.concatenate(arrays)
        joined.flags.writeable = False
        return cls(samples=joined, sample_rate=rate)

    @property
    def path(self) -> Path | None:
        """The file that it was made from."""
        return self._source.path if self._source else None

    @property
    def url(self) -> str | None:
        """The URL that it was made from, for a provider that fetches by itself."""
        return self._source.url if self._source else None

    @property
    def media_type(self) -> str | None:
        """The encoding, such as ``audio/flac``, where it shows; raw samples count as WAV."""
        if self._source is None:
            return codec.MEDIA_TYPES["wav"]
        return self._source.sniff() or self._source.media_type

    @property
    def sample_rate(self) -> int:
        """Samples a second, in each channel."""
        return self._read_shape().sample_rate

    @property
    def channels(self) -> int:
        """The number of channels: 1 for mono, 2 for stereo."""
        return self._read_shape().channels

    @property
    def frames(self) -> int:
        """Samples in each channel; before decoding, an MP3 or M4A tells what its header says."""
        if self._samples is not None:
            return len(self._samples)
        frames = self._read_shape().frames
        return len(self.samples) if frames is None else frames

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.sample_rate

    @property
    def known_duration(self) -> float | None:
        """Seconds, where a file's header tells; ``None`` where it would have to be decoded."""
        frames = self._read_shape().frames if self._samples is None else len(self._samples)
        return None if frames is None else frames / self.sample_rate

    @property
    def samples(self) -> Floats:
        """The samples as float32, shape (frames,) for mono and (frames, channels) otherwise."""
        if self._samples is None:
            shape = self._read_shape()
            self._samples = self._decode(shape.sample_rate, shape.channels)
        return self._samples

    def to_samples(self, *, sample_rate: int | None = 16_000, channels: int | None = 1) -> Floats:
        """Give float32 samples, resampled and mixed as asked; ``None`` keeps what the sound has.

        The last result is kept, so that asking again costs nothing.
        """
        wanted = self._wanted(sample_rate, channels)
        if wanted == self._read_shape()[:2]:
            return self.samples
        if self._converted is None or self._converted[0] != wanted:
            self._converted = (wanted, self._decode(*wanted))
        return self._converted[1]

    def blocks(
        self,
        seconds: float,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
    ) -> Iterator[Floats]:
        """Go through the sound in pieces of some seconds, decoding no further than asked.

        Memory stays flat however long the file is. The last piece may be shorter.
        """
        check_range("seconds", seconds, at_least=0.001)
        wanted = self._wanted(sample_rate, channels)
        size = max(1, round(seconds * wanted[0]))
        return self._blocks(size, *wanted)

    def cut(self, start: float = 0.0, end: float | None = None) -> Audio:
        """Give the part between two times in seconds; without `end`, all that follows."""
        check_range("start", start, at_least=0)
        check_range("end", end, at_least=start)
        rate, samples = self.sample_rate, self.samples
        total = len(samples) / rate
        first = round(min(start, total) * rate)
        last = round(min(end, total) * rate) if end is not None else len(samples)
        return Audio(samples=samples[first:last], sample_rate=rate)

    def pcm16(self, *, sample_rate: int | None = None, channels: int | None = None) -> bytes:
        """Give raw 16-bit little-endian samples, channels interleaved."""
        return codec.to_pcm16(self.to_samples(sample_rate=sample_rate, channels=channels))

    def to_bytes(self, format: str | None = None) -> bytes:  # noqa: A002 - the word of `save`
        """Give an encoded file: wav, flac, mp3, ogg or m4a.

        Without a format, what the sound was made from, or a 16-bit WAV for samples.
        """
        if self._source is not None and self._is_already(format):
            return self._source.read()
        out = io.BytesIO()
        self._encode(out, format or "wav")
        return out.getvalue()

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:  # noqa: A002 - as Pillow names it
        """Write a file, in the format of its suffix (.wav, .flac, .mp3, .ogg, .m4a)."""
        chosen = format or Path(path).suffix.lstrip(".").lower()
        check_choice("the format of a sound file", chosen, codec.MEDIA_TYPES)
        if self._source is not None and self._is_already(chosen):
            data = self._source.read()
            return write_file(path, lambda file: file.write(data))
        return write_file(path, lambda file: self._encode(file, chosen))

    def to_data_url(self) -> str:
        """Give a ``data:`` URL, of the original file where there is one."""
        media_type = self.media_type
        if media_type is None:
            return data_url(self.to_bytes("wav"), codec.MEDIA_TYPES["wav"])
        return data_url(self.to_bytes(), media_type)

    def play(self, *, blocking: bool = True) -> None:
        """Play through the speakers; without `blocking`, return at once."""
        try:
            sounddevice = need("sounddevice", extra="play", what="playing audio")
        except OSError as error:
            raise UnsupportedError(
                f"audio can't be played here: {error}; install PortAudio, or save to a file"
            ) from error
        try:
            sounddevice.play(self.samples, self.sample_rate)
            if blocking:
                sounddevice.wait()
        except sounddevice.PortAudioError as error:
            raise UnsupportedError(
                f"audio can't be played on this machine: {error}; save it to a file"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form: a URL as it is, a file's bytes, or samples as a lossless WAV."""
        if self._source is not None:
            media_type = None if self.url else self.media_type
            return self._source.to_dict(self.kind, media_type)
        out = io.BytesIO()
        floats = not codec.is_pcm16(self.samples)
        codec.write_wav(out, [self.samples], self.sample_rate, self.channels, floats=floats)
        return embed(self.kind, out.getvalue(), codec.MEDIA_TYPES["wav"])

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Audio:
        """Build one from what `to_dict` gave."""
        return cls(Source.from_dict(data, what="audio"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Audio):
            return NotImplemented
        if self is other:
            return True
        if self._source is not None and other._source is not None:
            return self._source.same_bytes(other._source)
        if self.url or other.url:
            return False
        try:
            mine, theirs = self.samples, other.samples
            same_rate = self.sample_rate == other.sample_rate
        except ValidationError:
            return False
        return same_rate and mine.shape == theirs.shape and bool((mine == theirs).all())

    __hash__ = None  # type: ignore[assignment]  # equal by content, which would have to be read

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is not None:
            return Audio, (self._source,)
        return Audio.from_samples, (self._samples, self._rate)

    def __repr__(self) -> str:
        if self.url is not None and self._samples is None:
            assert self._source is not None
            return f"Audio({self._source.name})"
        try:
            channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
            known = self.known_duration
            length = "" if known is None else f"{known:.2f} s, "
        except (BlazenError, OSError):
            assert self._source is not None
            return f"Audio({self._source.name})"
        return f"Audio({length}{self.sample_rate} Hz, {channels})"

    def _repr_html_(self) -> str:
        source = self.url
        if source is None:
            data = self.to_data_url()
            if len(data) > _VIEW_LIMIT:
                return html.escape(repr(self))
            source = data
        return f'<audio controls src="{html.escape(source)}"></audio>'

    def _read_shape(self) -> codec.Shape:
        if self._shape is None:
            if self._source is None:
                assert self._samples is not None
                channels = 1 if self._samples.ndim == 1 else self._samples.shape[1]
                self._shape = codec.Shape(self._rate, channels, len(self._samples))
            else:
                self._shape = codec.probe(self._source)
        return self._shape

    def _wanted(self, sample_rate: int | None, channels: int | None) -> tuple[int, int]:
        check_range("channels", channels, at_least=1, at_most=codec.MAX_CHANNELS, integer=True)
        rate = self.sample_rate if sample_rate is None else _rate(sample_rate)
        return rate, channels or self.channels

    def _av_frames(self) -> Iterator[Any]:
        if self._samples is not None:
            return codec.array_frames(self._samples, self.sample_rate)
        assert self._source is not None
        return codec.file_frames(self._source)

    def _decode(self, sample_rate: int, channels: int) -> Floats:
        pieces = codec.converted(self._av_frames(), sample_rate, channels)
        samples = codec.collect(pieces, channels)
        samples.flags.writeable = False
        return samples

    def _blocks(self, size: int, sample_rate: int, channels: int) -> Iterator[Floats]:
        ready = None
        if self._samples is not None and (sample_rate, channels) == self._read_shape()[:2]:
            ready = self._samples
        elif self._converted is not None and self._converted[0] == (sample_rate, channels):
            ready = self._converted[1]
        if ready is not None:
            for start in range(0, len(ready), size):
                yield ready[start : start + size]
            return
        pieces = codec.converted(self._av_frames(), sample_rate, channels)
        yield from codec.regrouped(pieces, size, channels)

    def _is_already(self, wanted: str | None) -> bool:
        return wanted is None or self.media_type == codec.MEDIA_TYPES.get(wanted)

    def _encode(self, out: BinaryIO, wanted: str) -> None:
        check_choice("the format of a sound file", wanted, codec.MEDIA_TYPES)
        shape = self._read_shape()
        if wanted == "wav":
            codec.write_wav(out, self.blocks(1.0), shape.sample_rate, shape.channels)
        else:
            codec.write_encoded(out, self._av_frames(), shape, wanted)


def _rate(value: Any) -> int:
    try:
        rate = operator.index(value)
    except TypeError:
        raise ValidationError(
            f"sample_rate must be a whole number of samples a second, not {value!r:.80}"
        ) from None
    if isinstance(value, bool):
        raise ValidationError(f"sample_rate must be a number, not {value!r}")
    check_range("sample_rate", rate, at_least=1000, at_most=codec.MAX_RATE, integer=True)
    return rate


def _to_floats(samples: Any) -> Floats:
    np = need("numpy", extra="audio", what="making audio from samples")
    try:
        array = np.asarray(samples)
    except (ValueError, TypeError) as error:
        raise ValidationError(f"these samples make no array: {error}") from error
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            floats = array.astype(np.float32)
        if not np.isfinite(floats).all():
            raise ValidationError("the samples hold NaN or infinity")
    elif array.dtype in (np.int8, np.int16, np.int32):
        floats = (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    else:
        raise ValidationError(
            f"samples of type {array.dtype} have no agreed scale: give floats between -1 and 1, "
            "or int8, int16 or int32"
        )
    if floats.ndim == 2 and floats.shape[1] == 1:
        floats = floats[:, 0]
    if floats.ndim not in (1, 2) or (floats.ndim == 2 and not floats.shape[1]):
        raise ValidationError(f"samples have shape (n,) or (n, channels), not {array.shape}")
    if floats.ndim == 2 and floats.shape[1] > codec.MAX_CHANNELS:
        raise ValidationError(
            f"samples of shape {array.shape} would have {floats.shape[1]} channels (at most "
            f"{codec.MAX_CHANNELS}): the shape is (n, channels), so pass samples.T"
        )
    floats = np.ascontiguousarray(floats)
    floats.flags.writeable = False
    result: Floats = floats
    return result
