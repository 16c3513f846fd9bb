"""Sound that is still being made: from a microphone, a call, a voice, or a file played."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from blazen.checks import check_range
from blazen.errors import UnsupportedError, ValidationError
from blazen.extras import need
from blazen.types import audio_codec as codec
from blazen.types.audio import Audio

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

log = logging.getLogger("blazen")

_LATE_SECONDS = 60.0


class LiveAudio:
    """Sound that comes piece by piece from an asynchronous iterator, and may never end.

    A piece is an `Audio`, ``(samples, sample_rate)``, or, where ``sample_rate`` is given, samples
    alone or raw bytes (16 bits, little-endian, one channel). The pieces may have any length, and
    their rates may differ.
    """

    __slots__ = ("_pieces", "_sample_rate", "_taken")
    kind: ClassVar[str] = "live_audio"

    def __init__(self, pieces: AsyncIterable[Any], *, sample_rate: int | None = None) -> None:
        if not isinstance(pieces, AsyncIterable):
            raise ValidationError(
                "live audio is given as an asynchronous iterator of sound, not as "
                f"{type(pieces).__name__}; LiveAudio.from_audio plays what is there already"
            )
        check_range("sample_rate", sample_rate, at_least=1000, at_most=codec.MAX_RATE, integer=True)
        self._pieces = pieces
        self._sample_rate = sample_rate
        self._taken = False

    @classmethod
    def of(cls, value: Any) -> LiveAudio:
        """Take live audio, or an asynchronous iterator of sound."""
        return value if isinstance(value, LiveAudio) else cls(value)

    @classmethod
    def from_audio(cls, audio: Any, seconds: float = 0.1, *, realtime: bool = False) -> LiveAudio:
        """Play a sound into it, in whatever form `Audio.of` takes, in pieces of some seconds.

        With ``realtime`` a piece comes when it would have been spoken, otherwise at once.
        """
        check_range("seconds", seconds, at_least=0.001)
        return cls(_Played(Audio.of(audio), seconds, realtime))

    @classmethod
    def microphone(
        cls,
        *,
        device: int | str | None = None,
        sample_rate: int = 16_000,
        seconds: float = 0.1,
    ) -> LiveAudio:
        """Listen to a microphone, until whoever reads it stops. Needs the extra ``play``.

        It opens when the first piece is asked for. Where nobody reads it for two minutes, the
        older one of them is lost.
        """
        check_range("seconds", seconds, at_least=0.01, at_most=10)
        check_range("sample_rate", sample_rate, at_least=1000, at_most=codec.MAX_RATE, integer=True)
        try:
            sounddevice = need("sounddevice", extra="play", what="a microphone")
        except OSError as error:
            raise UnsupportedError(
                f"there is no microphone here: {error}; install PortAudio, or give a file to "
                "LiveAudio.from_audio"
            ) from error
        return cls(_Microphone(sounddevice, device, sample_rate, seconds))

    async def blocks(self, *, sample_rate: int = 16_000) -> AsyncGenerator[Floats, None]:
        """Give the sound as it comes, as float32 arrays of one channel at one rate.

        To close this iterator closes the one that the sound comes from.
        """
        pieces = self._take()
        inlet, rest = _Inlet(sample_rate), bytearray()
        try:
            async for piece in pieces:
                async for samples, rate in self._samples(piece, rest):
                    for block in inlet.push(samples, rate):
                        yield block
            for block in inlet.flush():
                yield block
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()

    async def collect(self, *, sample_rate: int = 16_000) -> Audio:
        """Listen to the end, and give the whole sound."""
        np = need("numpy", extra="audio", what="live audio")
        async with contextlib.aclosing(self.blocks(sample_rate=sample_rate)) as blocks:
            heard = [block async for block in blocks]
        whole = np.concatenate(heard) if heard else np.zeros(0, np.float32)
        return Audio.from_samples(whole, sample_rate)

    if not TYPE_CHECKING:  # a checker is to see that these are not there

        def __getattr__(self, name: str) -> NoReturn:
            # A model that knows whole sounds only asks for one's samples.
            if not name.startswith("_") and hasattr(Audio, name):
                raise UnsupportedError(
                    f"live audio has no {name!r}, which was asked for: this model hears whole "
                    "sounds only; give it `await live_audio.collect()`"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _take(self) -> AsyncIterator[Any]:
        pieces = self._pieces.__aiter__()
        # A generator that was read once is empty, and would pass for silence.
        if pieces is self._pieces:
            if self._taken:
                raise ValidationError(
                    "this live audio was read already: its iterator gives its sound only once"
                )
            self._taken = True
        return pieces

    async def _samples(self, piece: Any, rest: bytearray) -> AsyncIterator[tuple[Floats, int]]:
        if isinstance(piece, (bytes, bytearray, memoryview)):
            rest += piece
            whole = len(rest) // 2 * 2  # a network cuts samples in two
            raw, rest[:] = bytes(rest[:whole]), rest[whole:]
            yield _from_pcm16(raw), self._known_rate("raw bytes")
        elif isinstance(piece, tuple):
            audio = Audio.of(piece)
            yield audio.samples, audio.sample_rate
        elif hasattr(piece, "__array__") or isinstance(piece, list):
            audio = Audio.from_samples(piece, self._known_rate("samples alone"))
            yield audio.samples, audio.sample_rate
        elif isinstance(piece, Audio):
            async for samples in _decoded(piece, 1.0):
                yield samples, piece.sample_rate
        else:
            raise ValidationError(
                "a piece of live audio is an Audio, (samples, sample_rate) or raw bytes, not "
                f"{type(piece).__name__}"
            )

    def _known_rate(self, what: str) -> int:
        if self._sample_rate is None:
            raise ValidationError(
                f"{what} have no sample rate: give it, as LiveAudio(pieces, sample_rate=16000)"
            )
        return self._sample_rate

    def to_dict(self) -> NoReturn:
        """Refuse: what is still to come can't be written down."""
        raise ValidationError(
            "live audio has no JSON form: it is heard as it comes; to keep or send sound, give an "
            "Audio"
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LiveAudio:
        """Refuse: there is no JSON form."""
        raise ValidationError(f"live audio has no JSON form: give an Audio, not {data!r:.80}")

    def __reduce__(self) -> NoReturn:
        raise ValidationError("live audio can't be copied or pickled: give an Audio instead")

    def __repr__(self) -> str:
        return f"LiveAudio({getattr(self._pieces, '__qualname__', type(self._pieces).__name__)})"


class _Inlet:
    """Brings sound to one rate and one channel, without a seam where its pieces meet."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._converter: codec.Converter | None = None

    def push(self, samples: Floats, rate: int) -> Iterator[Floats]:
        if not len(samples):
            return
        if rate == self._rate and samples.ndim == 1:
            yield from self.flush()
            yield samples
            return
        for frame in codec.array_frames(samples, rate):
            if self._converter is None or not self._converter.takes(frame):
                yield from self.flush()
                self._converter = codec.Converter(frame, self._rate, 1)
            for block in self._converter.push(frame):
                if len(block):
                    yield block

    def flush(self) -> Iterator[Floats]:
        converter, self._converter = self._converter, None
        if converter is not None:
            yield from (block for block in converter.push(None) if len(block))


class _Played:
    """A sound that is there already, piece by piece, as often as it is asked for."""

    def __init__(self, audio: Audio, seconds: float, realtime: bool) -> None:
        self._audio = audio
        self._seconds = seconds
        self._realtime = realtime

    async def __aiter__(self) -> AsyncIterator[tuple[Floats, int]]:
        clock = asyncio.get_running_loop().time
        begun, played, rate = clock(), 0, 0
        async for samples in _decoded(self._audio, self._seconds):
            rate = rate or self._audio.sample_rate
            played += len(samples)
            # A microphone too gives a piece when its last sample was spoken.
            late = clock() - begun - played / rate
            await asyncio.sleep(max(0.0, -late) if self._realtime else 0)
            yield samples, rate


class _Microphone:
    """What a microphone of this machine hears, from when it is first asked for."""

    def __init__(
        self, sounddevice: Any, device: int | str | None, sample_rate: int, seconds: float
    ) -> None:
        self._sounddevice = sounddevice
        self._device = device
        self._rate = sample_rate
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[tuple[Any, int]]:
        loop, fresh = asyncio.get_running_loop(), asyncio.Event()
        room = max(2, round(_LATE_SECONDS / self._seconds))
        heard: deque[bytes] = deque()

        def keep(data: bytes) -> None:
            if len(heard) >= 2 * room:
                log.warning("nobody reads the microphone: its oldest %d pieces are lost", room)
                for _ in range(room):
                    heard.popleft()
            heard.append(data)
            fresh.set()

        def hear(data: Any, *_: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: no one listens any more
                loop.call_soon_threadsafe(keep, bytes(data))

        stream = self._open(hear)
        try:
            while True:
                while not heard:
                    fresh.clear()
                    await fresh.wait()
                yield _from_pcm16(heard.popleft()), self._rate
        finally:
            stream.abort()
            stream.close()

    def _open(self, hear: Any) -> Any:
        try:
            stream = self._sounddevice.RawInputStream(
                samplerate=self._rate,
                blocksize=round(self._rate * self._seconds),
                device=self._device,
                channels=1,
                dtype="int16",
                callback=hear,
            )
            stream.start()
        except (self._sounddevice.PortAudioError, ValueError) as error:
            raise UnsupportedError(
                f"the microphone can't be used: {error}; choose another with device=, or give a "
                "file to LiveAudio.from_audio"
            ) from error
        return stream


async def _decoded(audio: Audio, seconds: float) -> AsyncIterator[Floats]:
    """Give a sound in blocks; one that is still encoded is decoded off the loop's thread."""
    if audio._samples is not None:
        for block in audio.blocks(seconds):
            yield block
        return
    blocks = await asyncio.to_thread(audio.blocks, seconds)
    while (piece := await asyncio.to_thread(next, blocks, None)) is not None:
        yield piece


def _from_pcm16(data: bytes) -> Floats:
    np = need("numpy", extra="audio", what="live audio")
    samples: Floats = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
    return samples
