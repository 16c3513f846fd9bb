"""What was heard live and is not written down yet, cut into stretches in which someone speaks."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from blazen.speech.activity import SpeechActivity, SpeechEvent
from blazen_whispercpp.hearing import RATE, WINDOW_SECONDS

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats

_LONGEST_SECONDS = 25.0
"""Whisper hears 30 seconds at once: whoever speaks on without a pause is cut before that."""
_LEFT_SECONDS = 1.0
"""So much shorter than a window a stretch is cut, since sound comes in pieces."""
_CUT_SHARE = 0.2
_CUT_LEAST = round(1.5 * RATE)
"""In so much of speech there is a place between two words."""
_LOUDNESS = RATE // 10
_SHORTEST = RATE // 4
_KEPT = 2 * RATE
"""A beginning is told late: so much is kept of a time in which no one spoke."""


class Stretch(NamedTuple):
    """Sound in which someone speaks, and where it begins, in samples from the start of all."""

    first: int
    samples: Floats

    @property
    def last(self) -> int:
        """Where it ends."""
        return self.first + len(self.samples)

    def after(self, place: int) -> Stretch:
        """Give what comes after a place, if only an end without samples."""
        first = max(self.first, place)
        return Stretch(first, self.samples[first - self.first :])


class Ear:
    """Takes sound as it comes, and forgets what is settled: memory stays flat."""

    def __init__(self, *, vad: bool, window: float = WINDOW_SECONDS) -> None:
        self._longest = round(min(_LONGEST_SECONDS, window - _LEFT_SECONDS) * RATE)
        self._activity = SpeechActivity(RATE) if vad else None
        self._began = None if vad else 0
        self._kept: list[Floats] = []
        self._kept_from = 0
        self._complete: deque[Stretch] = deque()
        self.total = 0
        """How many samples came."""
        self.ended = False

    @property
    def seconds(self) -> float:
        """How much sound waits here."""
        waiting = sum(len(stretch.samples) for stretch in self._complete)
        return (waiting + self.total - self._kept_from) / RATE

    @property
    def is_due(self) -> bool:
        """Whether there is a stretch that will not grow any more."""
        return bool(self._complete)

    def feed(self, block: Floats) -> None:
        """Take the next samples."""
        self._kept.append(block)
        self.total += len(block)
        self._note(self._activity.feed(block) if self._activity else [])
        if self._began is not None and self.total - self._began > self._longest:
            self._began = self._complete_at(self._quietest())
        self._forget()

    def finish(self) -> None:
        """Hear that no more comes."""
        self._note(self._activity.finish() if self._activity else [])
        if self._began is not None:
            self._complete_at(self.total)
        self.ended = True

    def take(self) -> Stretch | None:
        """Take the oldest stretch that will not grow any more."""
        return self._complete.popleft() if self._complete else None

    def growing(self) -> Stretch | None:
        """Give what was said until now of the stretch that still grows."""
        if self._began is None or self.total <= self._began:
            return None
        return Stretch(self._began, self._between(self._began, self.total))

    def begin_at(self, place: int) -> None:
        """Hear that all is settled up to a place."""
        # What has ended stays, however little is left: what it seemed to say is to be taken back.
        self._complete = deque(stretch.after(place) for stretch in self._complete)
        if self._began is not None:
            self._began = max(place, self._began)
            self._forget()

    def _note(self, events: list[SpeechEvent]) -> None:
        for event in events:
            place = round(event.seconds * RATE)
            if event.kind == "start":
                self._began = max(place, self._kept_from)
            else:
                self._complete_at(place)

    def _complete_at(self, place: int) -> int:
        first, self._began = self._began, None
        if first is not None and place - first >= _SHORTEST:
            self._complete.append(Stretch(first, self._between(first, place).copy()))
        return place

    def _quietest(self) -> int:
        """Give the quietest place of the last seconds, where a cut does the least harm."""
        import numpy as np

        first = self.total - max(_CUT_LEAST, round(_CUT_SHARE * self._longest))
        power = np.square(self._between(first, self.total))
        loudness = np.convolve(power, np.ones(_LOUDNESS), "valid")[:: _LOUDNESS // 4]
        return first + int(loudness.argmin()) * (_LOUDNESS // 4) + _LOUDNESS // 2

    def _between(self, first: int, last: int) -> Floats:
        import numpy as np

        joined = self._kept[0] if len(self._kept) == 1 else np.concatenate(self._kept)
        self._kept = [joined]
        return joined[first - self._kept_from : last - self._kept_from]

    def _forget(self) -> None:
        before = self.total - _KEPT if self._began is None else self._began
        while self._kept and self._kept_from + len(self._kept[0]) <= before:
            self._kept_from += len(self._kept.pop(0))
        if self._kept and before - self._kept_from > 2 * _KEPT:
            # A view would keep the whole array.
            self._kept[0] = self._kept[0][before - self._kept_from :].copy()
            self._kept_from = before
