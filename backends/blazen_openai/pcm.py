"""Samples as they come over the wire, in pieces of `Audio`."""

from __future__ import annotations

from collections.abc import Iterator

from blazen.extras import need
from blazen.types.audio import Audio

_SECONDS = 0.5
"""No piece is longer, so that the first is heard soon however much comes at once."""
_LEAST_SECONDS = 0.02
_LONGEST_HEAD = 64 * 1024
_PCM, _OF_ITS_OWN = 1, 0xFFFE


class NotSound(ValueError):
    """What came is no sound of a kind that is read here."""


class Samples:
    """Sound of 16 bits a sample: bare, or as a WAV that tells its rate in its head."""

    def __init__(self, *, sample_rate: int, wav: bool) -> None:
        self._rate = sample_rate
        self._channels = 1
        self._head = wav
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Audio]:
        """Give the pieces that are whole."""
        self._rest += data
        if self._head and not self._read_head():
            return
        least = self._size(_LEAST_SECONDS)
        while len(self._rest) >= least:
            yield self._taken(min(len(self._rest), self._size(_SECONDS)))

    def flush(self) -> Iterator[Audio]:
        """Give what is left."""
        frame = 2 * self._channels
        if self._head or len(self._rest) % frame:
            raise NotSound("a sound that ends within " + ("its head" if self._head else "a sample"))
        if self._rest:
            yield self._taken(len(self._rest))

    def _size(self, seconds: float) -> int:
        return 2 * self._channels * max(1, round(seconds * self._rate))

    def _taken(self, size: int) -> Audio:
        np = need("numpy", extra="audio", what="making audio from samples")
        size -= size % (2 * self._channels)
        samples = np.frombuffer(bytes(self._rest[:size]), dtype="<i2")
        del self._rest[:size]
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels)
        return Audio.from_samples(samples.astype("int16"), self._rate)

    def _read_head(self) -> bool:
        """Read the head of a WAV, once all of it is there."""
        head = self._rest
        if len(head) < 12:
            return False
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            raise NotSound(f"no WAV: it begins with {bytes(head[:12])!r}")
        place = 12
        while len(head) >= place + 8:
            name, size = bytes(head[place : place + 4]), _whole(head, place + 4, 4)
            if name == b"data":
                self._head = False
                # Its size is not known when a stream begins; all that follows is sound.
                del head[: place + 8]
                return True
            if size > _LONGEST_HEAD:
                raise NotSound("a WAV without sound")
            if len(head) < place + 8 + size:
                return False
            if name == b"fmt ":
                self._read_format(place + 8)
            place += 8 + size + size % 2
        return False

    def _read_format(self, place: int) -> None:
        head = self._rest
        kind, bits = _whole(head, place, 2), _whole(head, place + 14, 2)
        self._channels, self._rate = _whole(head, place + 2, 2), _whole(head, place + 4, 4)
        if kind not in (_PCM, _OF_ITS_OWN) or bits != 16 or not self._channels:
            raise NotSound(f"a WAV of {bits} bits of kind {kind}, where 16 bits of kind 1 are read")


def _whole(head: bytearray, place: int, size: int) -> int:
    return int.from_bytes(head[place : place + size], "little")
