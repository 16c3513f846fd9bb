"""Where someone speaks in a sound, found with arithmetic alone: no model, and no engine.

Speech is told from other sound by three things together: it is louder than what was there before,
its vowels are periodic (noise and clicks are not), and it changes all the time (a hum does not).
A whisper, which has no such vowels, is not found; a song is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from blazen.checks import check_range
from blazen.extras import need
from blazen.types.audio import Audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# A frame holds several periods of a low voice, and a syllable has several frames.
_WINDOW_SECONDS, _HOP_SECONDS = 0.064, 0.016
_PITCHES = (65.0, 450.0)
_PITCH_BAND = (70.0, 2500.0)
_ENVELOPE_HERTZ = 400.0
_LOUDNESS_EDGES = (100, 200, 300, 400, 510, 630, 770, 920, 1200, 1600, 2300, 4000)
_LOUDEST_BANDS = 4
# Noise of any colour stays below a third, and its bands below 8 dB over their quietest moment.
_PERIODIC, _RISE_DB = 0.38, 9.0
_SILENCE_DB = -90.0
_STEADY_DB = 0.8
# A hum changes too while it begins: so many frames before and after are looked at.
_AROUND = 4
# So many frames of so many must be speech for it to begin: fewer are a click or a chirp.
_SEED_FRAMES, _SEED_SPAN = 5, 19
# The background is the quietest of so many slots of so many frames: two seconds.
_SLOTS, _SLOT_FRAMES = 8, 16


class SpeechEvent(NamedTuple):
    """Someone begins to speak, or has ended, at so many seconds from the start of the sound."""

    kind: Literal["start", "end"]
    seconds: float


class SpeechActivity:
    """Listens to sound as it comes, and says when someone begins to speak and has ended.

    A start is told about a fifth of a second late, and an end when ``gap`` seconds have passed; the
    times that they carry are those of the speech, with ``padding`` seconds before and after, so
    that no soft beginning is lost.
    """

    def __init__(
        self, sample_rate: int = 16_000, *, padding: float = 0.3, gap: float = 0.5
    ) -> None:
        check_range("sample_rate", sample_rate, at_least=8000, integer=True)
        check_range("padding", padding, at_least=0, at_most=5)
        check_range("gap", gap, at_least=0.1, at_most=60)
        self._rate = sample_rate
        self._frames = _Frames(sample_rate)
        self._padding = padding
        self._gap = gap
        self._recent: deque[_Frame] = deque(maxlen=2 * _AROUND + 1)
        self._spoken: deque[int] = deque()
        self._number = self._last = self._fed = 0
        self._ended = 0.0
        self.speaking = False
        """Whether someone speaks now."""

    @property
    def seconds(self) -> float:
        """How much sound it was fed."""
        return self._fed / self._rate

    def feed(self, samples: Any) -> list[SpeechEvent]:
        """Take the next samples, and say what has begun or ended in them."""
        block = Audio.from_samples(samples, self._rate).samples
        self._fed += len(block)
        events: list[SpeechEvent] = []
        for frame in self._frames.of(block if block.ndim == 1 else block.mean(1)):
            self._recent.append(frame)
            if len(self._recent) > _AROUND:
                self._judge(len(self._recent) - 1 - _AROUND, events)
        return events

    def finish(self) -> list[SpeechEvent]:
        """Hear that the sound is over: who still speaks has ended."""
        events: list[SpeechEvent] = []
        for place in range(max(0, len(self._recent) - _AROUND), len(self._recent)):
            self._judge(place, events)
        self._recent.clear()
        if self.speaking:
            self._end(events)
        return events

    def _judge(self, place: int, events: list[SpeechEvent]) -> None:
        frame = self._recent[place]
        number, self._number = self._number, self._number + 1
        if (
            frame.periodicity > _PERIODIC
            and frame.rise > _RISE_DB
            and frame.level > _SILENCE_DB
            and not self._is_steady(place)
        ):
            self._spoken.append(number)
            self._last = number
        while self._spoken and self._spoken[0] <= number - _SEED_SPAN:
            self._spoken.popleft()
        if not self.speaking and len(self._spoken) >= _SEED_FRAMES:
            self.speaking = True
            start = self._frames.time(self._spoken[0]) - self._padding
            events.append(SpeechEvent("start", max(start, self._ended, 0.0)))
        elif self.speaking and (number - self._last) * _HOP_SECONDS > self._gap:
            self._end(events)

    def _end(self, events: list[SpeechEvent]) -> None:
        self.speaking = False
        self._spoken.clear()
        self._ended = min(self._frames.time(self._last) + self._padding, self.seconds)
        events.append(SpeechEvent("end", self._ended))

    def _is_steady(self, place: int) -> bool:
        bands = [frame.bands for frame in self._recent]
        return any(
            _change(bands[first : first + _AROUND + 1]) < _STEADY_DB
            for first in (place - _AROUND, place)
            if first >= 0 and first + _AROUND < len(bands)
        )


def speech_regions(
    samples: Any, sample_rate: int = 16_000, *, padding: float = 0.3, gap: float = 0.5
) -> list[tuple[float, float]]:
    """Give the stretches in which someone speaks, in seconds: in order, none touching another.

    Pauses of at most ``gap`` seconds do not end a stretch, and each is ``padding`` seconds longer
    on both sides than what was found.
    """
    activity = SpeechActivity(sample_rate, padding=padding, gap=gap)
    events: list[SpeechEvent] = []
    step = 10 * sample_rate  # what is worked on at once stays small
    for start in range(0, len(samples), step):
        events += activity.feed(samples[start : start + step])
    events += activity.finish()
    regions: list[tuple[float, float]] = []
    for begun, ended in zip(events[::2], events[1::2], strict=True):
        touches = bool(regions) and begun.seconds <= regions[-1][1]
        regions.append((regions.pop()[0] if touches else begun.seconds, ended.seconds))
    return regions


class _Frame(NamedTuple):
    periodicity: float
    level: float
    rise: float
    bands: Floats


class _Frames:
    """Cuts sound into frames that overlap, and measures each beside what was there before."""

    def __init__(self, rate: int) -> None:
        np = need("numpy", extra="audio", what="finding speech")
        self._size, self._hop = round(_WINDOW_SECONDS * rate), round(_HOP_SECONDS * rate)
        self._rate = rate
        self._rest = np.zeros(0, np.float32)
        self._window = np.hanning(self._size + 1)[:-1]
        self._scale = 2 / (self._window**2).sum() / self._size
        hertz = np.fft.rfftfreq(self._size, 1 / rate)
        # Of some rates the last frequency lies just below the last edge.
        self._edges = np.searchsorted(hertz, _LOUDNESS_EDGES).clip(max=len(hertz) - 1)
        first, last = np.searchsorted(hertz, _PITCH_BAND)
        self._pitch_bins = slice(int(first), int(last))
        self._around = round(_ENVELOPE_HERTZ / hertz[1] / 2)
        self._lags = slice(int(rate / _PITCHES[1]), int(rate / _PITCHES[0]))
        # Windowed, even a perfect tone is less like itself the later it is compared.
        own = np.fft.irfft(np.abs(np.fft.rfft(self._window)) ** 2, self._size)
        self._likeness = own[self._lags] / own[0]
        band = np.searchsorted(_LOUDNESS_EDGES, hertz[self._pitch_bins], "right") - 1
        self._band_of_bin = np.clip(band, 0, len(_LOUDNESS_EDGES) - 2)
        self._background = _Background(np.diff(self._edges))

    def time(self, number: int) -> float:
        """Give the middle of a frame, in seconds."""
        return (number * self._hop + self._size / 2) / self._rate

    def of(self, samples: Floats) -> Iterator[_Frame]:
        """Give the frames that these samples complete."""
        import numpy as np

        data = np.concatenate([self._rest, samples])
        place = 0
        while (count := (len(data) - place - self._size) // self._hop + 1) > 0:
            count = min(count, self._background.room)
            windows = np.lib.stride_tricks.sliding_window_view(data[place:], self._size)
            yield from self._measured(windows[: count * self._hop : self._hop])
            place += count * self._hop
        self._rest = data[place:].copy()

    def _measured(self, windows: Floats) -> list[_Frame]:
        import numpy as np

        power = np.abs(np.fft.rfft(windows * self._window)) ** 2 * self._scale + 1e-15
        loudness = np.add.reduceat(power, self._edges, axis=1)[:, :-1]
        floors = self._background.floors(loudness)
        bands = 10 * np.log10(loudness)
        rises = np.sort(bands - 10 * np.log10(floors), axis=1)[:, -_LOUDEST_BANDS:].mean(1)
        levels = 10 * np.log10(loudness.sum(1))
        periodicities = self._periodicities(power, floors / np.diff(self._edges))
        return [_Frame(*one) for one in zip(periodicities, levels, rises, bands, strict=True)]

    def _periodicities(self, power: Floats, noise: Floats) -> Floats:
        """Say how alike each frame is to itself a period of a voice later, from 0 to about 1.

        Its spectrum is made flat first, so that the colour of noise does not count, and what the
        background drowns counts less.
        """
        import numpy as np

        band = power[:, self._pitch_bins]
        wide = np.pad(band, ((0, 0), (self._around + 1, self._around)), mode="edge").cumsum(1)
        width = 2 * self._around + 1
        envelope = np.maximum((wide[:, width:] - wide[:, :-width]) / width, 1e-15)
        # Twice the quietest moment is about what the background is like on average.
        clear = np.clip(1 - 2 * noise[:, self._band_of_bin] / envelope, 0.02, 1)
        flat = np.zeros_like(power)
        flat[:, self._pitch_bins] = band / envelope * clear
        likeness = np.fft.irfft(flat, self._size)
        peaks: Floats = (likeness[:, self._lags] / self._likeness).max(1) / likeness[:, 0]
        return peaks


class _Background:
    """How loud each band was at the quietest moment of the last two seconds."""

    def __init__(self, widths: Any) -> None:
        import numpy as np

        # Until it is known, anything may be speech.
        self._floor = np.full(len(widths), 1e-10)
        self._slot = np.full(len(widths), np.inf)
        self._slots: deque[Floats] = deque(maxlen=_SLOTS)
        self._before: Floats | None = None
        self.room = _SLOT_FRAMES
        """How many frames fit into the slot that is being filled."""

    def floors(self, loudness: Floats) -> Floats:
        """Give each band's floor at each of some frames, at most as many as there is room for."""
        import numpy as np

        before = loudness[:1] if self._before is None else self._before
        smooth = (loudness + np.concatenate([before, loudness[:-1]])) / 2
        self._before = loudness[-1:]
        self._slot = np.minimum(self._slot, smooth.min(0))
        floors: Floats = np.minimum(self._floor, smooth)
        self.room -= len(loudness)
        if not self.room:
            self._slots.append(self._slot)
            self._slot, self.room = np.full_like(self._slot, np.inf), _SLOT_FRAMES
            if len(self._slots) == _SLOTS:
                self._floor = np.min(self._slots, axis=0)
        return floors


def _change(bands: list[Floats]) -> float:
    """Say how much the loud bands of some frames differ, in decibels."""
    import numpy as np

    frames = np.array(bands)
    means = frames.mean(0)
    return float(frames[:, means > means.max() - 20].std(0).mean())
