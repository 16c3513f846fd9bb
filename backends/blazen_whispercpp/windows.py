"""A long sound, cut where no one speaks into windows that Whisper can hear at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from blazen.speech.activity import SpeechActivity, SpeechEvent
from blazen_whispercpp.hearing import RATE

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

SHORTEST = RATE // 10
"""Less than a tenth of a second holds nothing that could be heard."""
_AHEAD = RATE
"""It is known a little later where speech begins and ends."""
_LONG_PAUSE = 8 * RATE
"""In a pause as long as this, Whisper may invent words: a window ends before it."""
_SILENT = 1e-4
"""What stays below this, of full scale 1, is heard by no one: Whisper says "you" to it."""
_SEARCHED = 0.15
"""The share of a window, at its end, in which a place for a cut is sought."""
_FRAME = RATE // 50
_FRAMES_AROUND = 5


class Window(NamedTuple):
    """Where a window begins and ends, in samples from the start of the sound."""

    first: int
    last: int


class Sound:
    """Reads a sound as far as it is needed, and forgets what was heard: memory stays flat."""

    def __init__(self, blocks: Iterator[Floats], size: int, *, vad: bool) -> None:
        self._blocks = blocks
        self._size = size
        self._activity = SpeechActivity(RATE) if vad else None
        self._regions: list[tuple[int, int]] = []
        self._began: int | None = None
        self._kept: list[Floats] = []
        self._kept_from = 0
        self.total = 0
        """How many samples were read."""
        self.ended = False

    def window(self, at: int) -> Window | None:
        """Give the next window at or after a place; ``None`` at the sound's end.

        A window without samples says that no one speaks until there.
        """
        self._forget(at)
        self._read(at + self._size + _AHEAD)
        limit = min(at + self._size, self.total)
        if limit - at < (SHORTEST if at else 1):
            return None
        if self._activity is None:
            if float(abs(self.samples(Window(at, limit))).max()) < _SILENT:
                return Window(limit, limit)
            whole = self.ended and limit == self.total
            return Window(at, limit if whole else self._quietest(limit))
        spoken = self.speech(at, limit)
        if not spoken:
            return Window(limit, limit)
        if spoken[0][0] > at + RATE:  # a window that begins later has more room
            return Window(spoken[0][0], spoken[0][0])
        return Window(at, self._end(spoken, at, limit))

    def speech(self, first: int, last: int) -> list[tuple[int, int]]:
        """Give the stretches in which someone speaks; without `vad`, all is taken for speech."""
        if self._activity is None:
            return [(first, last)]
        regions = list(self._regions)
        if self._began is not None:
            regions.append((self._began, max(self._began, self.total)))
        return [(max(a, first), min(b, last)) for a, b in regions if a < last and b > first]

    def samples(self, window: Window) -> Floats:
        """Give the samples of a window."""
        import numpy as np

        joined = self._kept[0] if len(self._kept) == 1 else np.concatenate(self._kept)
        self._kept = [joined]
        return joined[window.first - self._kept_from : window.last - self._kept_from]

    def _end(self, spoken: list[tuple[int, int]], at: int, limit: int) -> int:
        """Choose where a window ends: in a pause, where there is one."""
        for (_, ended), (begins, _) in itertools.pairwise(spoken):
            if begins - ended >= _LONG_PAUSE:
                return ended
        if spoken[-1][1] < limit or (self.ended and limit == self.total):
            return spoken[-1][1]
        # Someone speaks on beyond the window. What is cut within a word is heard again.
        if len(spoken) > 1 and spoken[-1][0] >= at + self._size // 2:
            return (spoken[-2][1] + spoken[-1][0]) // 2
        return self._quietest(limit)

    def _quietest(self, limit: int) -> int:
        """Find the best place for a cut where no one pauses: between two words, if possible."""
        import numpy as np

        first = limit - round(_SEARCHED * self._size)
        samples = self.samples(Window(first, limit))
        samples = samples[: len(samples) // _FRAME * _FRAME]
        energy = np.square(samples).reshape(-1, _FRAME).sum(1)
        around = np.convolve(energy, np.ones(_FRAMES_AROUND), "same")
        return first + int(around.argmin()) * _FRAME + _FRAME // 2

    def _read(self, upto: int) -> None:
        while self.total < upto and not self.ended:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
                self._note(self._activity.finish() if self._activity else [])
                return
            if len(block):
                self._kept.append(block)
                self.total += len(block)
                self._note(self._activity.feed(block) if self._activity else [])
                time.sleep(0)  # this is Python: between two blocks the event loop has its turn

    def _note(self, events: list[SpeechEvent]) -> None:
        for event in events:
            place = round(event.seconds * RATE)
            if event.kind == "start":
                self._began = place
            elif self._began is not None:
                self._regions.append((self._began, place))
                self._began = None

    def _forget(self, before: int) -> None:
        self._regions = [region for region in self._regions if region[1] > before]
        while self._kept and self._kept_from + len(self._kept[0]) <= before:
            self._kept_from += len(self._kept.pop(0))
        if self._kept and before > self._kept_from:
            # A view would keep the whole array.
            self._kept[0] = self._kept[0][before - self._kept_from :].copy()
            self._kept_from = before
