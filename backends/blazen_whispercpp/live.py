"""Live sound, written down while someone still speaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from blazen.bridge import Job
from blazen.options import WhisperOptions
from blazen.types.live import LiveAudio
from blazen.types.transcription import (
    LanguageGuess,
    Segment,
    TranscriptionChunk,
    TranscriptionRequest,
)
from blazen_whispercpp.ear import Ear, Stretch
from blazen_whispercpp.engine import Engine
from blazen_whispercpp.hearing import RATE, HearingSettings, hear
from blazen_whispercpp.settling import check_model, settle
from blazen_whispercpp.tokens import UNSPACED
from blazen_whispercpp.transcribing import Kept
from blazen_whispercpp.windows import SHORTEST

if TYPE_CHECKING:
    from blazen.types.audio_codec import Floats
    from blazen_whispercpp.model import WhisperCppModel

T = TypeVar("T")

_AT_ONCE = RATE // 2
_AHEAD_SECONDS = 60.0
"""How much sound may wait for the engine; then the source has to wait too."""
_PARTIAL_SECONDS = 1.0
_PARTIAL_SHARE = 2
"""Of the time that passes, partial results may take one part of so many."""
_ROUGH_SECONDS = 8.0
"""A partial result is heard through a window no longer than it needs: it costs less."""
_AGREE_SECONDS = 0.3
_SETTLE_AFTER = 12 * RATE


async def live_source(
    model: WhisperCppModel, request: TranscriptionRequest
) -> AsyncIterator[TranscriptionChunk]:
    """Give what is said: at first as it seems to be, and for good once it was said to its end.

    The engine is taken only while it works: between, others may use it.
    """
    assert isinstance(request.audio, LiveAudio)
    await model._call(_expect_able, request, model.options, model._title())
    writer = _Writer(model, request)
    ear = Ear(vad=model.options.vad, window=model.options.window)
    inflow = _Inflow(request.audio, ear)
    listening = asyncio.create_task(inflow.run())
    try:
        while True:
            stretch = inflow.take()
            if stretch is not None:
                for piece in await writer.settle(stretch):
                    yield piece
            elif inflow.ear.ended:
                break
            elif (growing := writer.worth_hearing(inflow.ear)) is not None:
                pieces = await _unless(inflow.due, writer.glimpse(growing)) or ()
                # Before a caller has his turn: while he takes his time, the stretch may end.
                inflow.ear.begin_at(writer.settled)
                for piece in pieces:
                    yield piece
            else:
                await inflow.wait()
        await listening  # raises what the source has raised
        total = inflow.ear.total / RATE
        yield TranscriptionChunk("", duration=total, position=total)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


class _Inflow:
    """Brings the sound of a source to an ear, as long as there is room."""

    def __init__(self, audio: LiveAudio, ear: Ear) -> None:
        self.ear = ear
        self.due = asyncio.Event()
        """Set while there is something to be settled."""
        self._audio = audio
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def run(self) -> None:
        try:
            async with contextlib.aclosing(self._audio.blocks(sample_rate=RATE)) as blocks:
                async for block in blocks:
                    for start in range(0, len(block), _AT_ONCE):
                        self.ear.feed(block[start : start + _AT_ONCE])
                        self._tell()
                        await self._wait_room()
        finally:
            self.ear.finish()
            self._tell()

    def take(self) -> Stretch | None:
        stretch = self.ear.take()
        if not self.ear.is_due:
            self.due.clear()
        self._room.set()
        return stretch

    async def wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        if self.ear.is_due:
            self.due.set()

    async def _wait_room(self) -> None:
        while self.ear.seconds > _AHEAD_SECONDS:
            self._room.clear()
            await self._room.wait()


class _Writer:
    """Has stretches heard, and makes pieces of a transcript of them."""

    def __init__(self, model: WhisperCppModel, request: TranscriptionRequest) -> None:
        self._model = model
        self._request = request
        self._settings: HearingSettings | None = None
        self._begun = False
        self._interval = _PARTIAL_SECONDS
        self._heard_until = 0
        self._shown = ""
        self._before: list[Segment] = []
        self.settled = 0
        """Up to where all is settled, in samples."""

    def worth_hearing(self, ear: Ear) -> Stretch | None:
        """Give what is being said, if enough of it is new."""
        growing = ear.growing()
        if growing is None:
            return None
        fresh = growing.last - max(growing.first, self._heard_until)
        return growing if fresh >= self._interval * RATE else None

    async def settle(self, stretch: Stretch) -> list[TranscriptionChunk]:
        """Hear a whole stretch, for good."""
        pieces = list[TranscriptionChunk]()
        if len(stretch.samples) >= SHORTEST:
            heard = await self._hear(stretch, rough=False)
            pieces = self._final(stretch, heard, heard.segments)
        # One without text takes back what was shown and turned out to be nothing.
        if not any(piece.text for piece in pieces):
            position = stretch.last / RATE
            pieces.append(TranscriptionChunk("", final=not self._shown, position=position))
        self._forget(stretch.last)
        return pieces

    async def glimpse(self, stretch: Stretch) -> list[TranscriptionChunk]:
        """Hear what was said until now of a stretch that still grows."""
        clock = asyncio.get_running_loop().time
        begun, self._heard_until = clock(), stretch.last
        heard = await self._hear(stretch, rough=True)
        self._interval = max(_PARTIAL_SECONDS, _PARTIAL_SHARE * (clock() - begun))
        agreed = _agreed(self._before, heard.segments)
        self._before = heard.segments
        pieces: list[TranscriptionChunk] = []
        if agreed and len(stretch.samples) > _SETTLE_AFTER:
            pieces = self._final(stretch, heard, heard.segments[:agreed])
            self._forget(stretch.first + round(heard.segments[agreed - 1].end * RATE))
        else:
            agreed = 0
        shaped = _shaped(stretch, heard.segments[agreed:], heard.settings.language)
        text = "".join(piece.text for piece in shaped)
        if text != self._shown:
            self._shown = text
            pieces.append(TranscriptionChunk(text, final=False, position=stretch.last / RATE))
        return pieces

    async def _hear(self, stretch: Stretch, *, rough: bool) -> _Heard:
        return await self._model._call(
            _hear, stretch.samples, self._request, self._model.options, self._settings, rough=rough
        )

    def _final(
        self, stretch: Stretch, heard: _Heard, segments: list[Segment]
    ) -> list[TranscriptionChunk]:
        language = heard.settings.language
        pieces = _shaped(stretch, segments, language)
        if pieces and self._begun and language not in UNSPACED:
            pieces[0] = replace(pieces[0], text=f" {pieces[0].text.lstrip()}")
        self._begun = self._begun or bool(pieces)
        if pieces and self._settings is None:
            self._settings = heard.settings
            guess = heard.guess.probability if heard.guess else None
            pieces.insert(0, TranscriptionChunk("", language=language, language_probability=guess))
        return pieces

    def _forget(self, until: int) -> None:
        self.settled, self._heard_until = until, max(until, self._heard_until)
        self._shown, self._before = "", []


@dataclass(frozen=True)
class _Heard:
    segments: list[Segment]
    settings: HearingSettings
    guess: LanguageGuess | None


def _hear(
    engine: Engine,
    job: Job,
    samples: Floats,
    request: TranscriptionRequest,
    options: WhisperOptions,
    settings: HearingSettings | None,
    *,
    rough: bool,
) -> _Heard:
    guess = None
    if settings is None:
        settings, guess = settle(engine, job, request, options, samples)
    used = settings
    if rough:
        window = min(settings.window, max(_ROUGH_SECONDS, len(samples) / RATE + 1))
        used = replace(settings, fallback=False, window=window)
    return _Heard(hear(engine, job, samples, used), settings, guess)


def _expect_able(
    engine: Engine, job: Job, request: TranscriptionRequest, options: WhisperOptions, title: str
) -> None:
    check_model(engine, request, options, title)


def _shaped(stretch: Stretch, segments: list[Segment], language: str) -> list[TranscriptionChunk]:
    """Give pieces without what was invented, with times from the start of all."""
    # What is said thrice is believed here: another stretch is another breath.
    kept = Kept()
    speech = [(stretch.first, stretch.last)]
    taken = (kept.take(segment, stretch.first / RATE, speech) for segment in segments)
    return [kept.piece(segment, language, None) for segment in taken if segment is not None]


def _agreed(before: list[Segment], now: list[Segment]) -> int:
    """Say how many segments were heard twice alike, and have another one behind them."""
    count = 0
    for one, other in zip(before, now[:-1], strict=False):
        if one.text != other.text or abs(one.end - other.end) > _AGREE_SECONDS:
            break
        count += 1
    return count


async def _unless(over: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work, but give it up, and give ``None``, as soon as something is over."""
    tasks = asyncio.create_task(work), asyncio.create_task(over.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
