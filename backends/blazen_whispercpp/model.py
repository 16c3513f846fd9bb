"""`Transcription` on whisper.cpp."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.options import WhisperOptions
from blazen.protocols.transcription import Transcription
from blazen.types.audio import Audio
from blazen.types.footprint import Footprint
from blazen.types.live import LiveAudio
from blazen.types.progress import OnProgress, Progress
from blazen.types.stream import Source
from blazen.types.transcription import (
    LanguageGuess,
    TranscriptionChunk,
    TranscriptionRequest,
    TranscriptionStream,
    as_request,
)
from blazen_whispercpp.engine import Engine, close_engine, open_engine, supported_devices
from blazen_whispercpp.ggml import read_shape
from blazen_whispercpp.names import find_model
from blazen_whispercpp.settling import check_request
from blazen_whispercpp.size import shape_footprint
from blazen_whispercpp.transcribing import guess, transcribe


class WhisperCppModel(FixedThreads, LocalBackend[Engine], Transcription):
    """Whisper in ggml form: it writes down speech of 99 languages, or translates it."""

    Options = WhisperOptions
    engine = "pywhispercpp"
    options: WhisperOptions

    def transcribe_stream(self, request: TranscriptionRequest | Any) -> TranscriptionStream:
        """Give each segment as it is settled, and how far it is in between."""
        checked = as_request(request)
        if isinstance(checked.audio, LiveAudio):
            from blazen_whispercpp.live import live_source

            check_request(checked, self.options)

            async def listen() -> Source[TranscriptionChunk]:
                await self.load()  # who can't hear says so before anyone speaks
                return await TranscriptionStream.of(live_source(self, checked)).begin()

            return TranscriptionStream(listen)

        async def start() -> Source[TranscriptionChunk]:
            check_request(checked, self.options)
            await _fetched(checked.audio)
            return await self._source(transcribe, checked, self.options, self._title())

        return TranscriptionStream(start)

    async def detect_language(self, audio: Any) -> LanguageGuess:
        """Say which language a sound is in, and how likely each other one is.

        It listens to the first 30 seconds in which someone speaks.
        """
        sound = Audio.of(audio)
        await _fetched(sound)
        return await self._call(guess, sound, self.options, self._title())

    def _open(self, job: Job, report: OnProgress) -> Engine:
        self._device = choose_device(self.options.device, supported=supported_devices())
        path = self._fetch(job, report)
        shape = read_shape(path)
        report(Progress("load", 0, 1, unit="models", detail=path.name))
        gpu = None if self._device == Device.Cpu else self._device.index or 0
        engine = open_engine(path, threads=self._take_threads(), gpu=gpu)
        engine.translates = shape.translates
        report(Progress("load", 1, 1, unit="models", detail=path.name))
        return engine

    @staticmethod
    def _close(engine: Engine) -> None:
        close_engine(engine)

    def _footprint(self, job: Job) -> Footprint | None:
        if choose_device(self.options.device, supported=supported_devices()) != Device.Cpu:
            return None  # what whisper.cpp takes of a GPU was not measured
        return shape_footprint(read_shape(self._fetch(job, lambda progress: None)))

    def _fetch(self, job: Job, report: OnProgress) -> Path:
        return find_model(
            self.options.model,
            cache_dir=self.options.cache_dir,
            report=report,
            cancelled=lambda: job.cancelled,
        )


async def _fetched(audio: Audio | LiveAudio) -> None:
    """Fetch a sound that lies behind a URL, before the engine is taken up with it."""
    if isinstance(audio, Audio) and audio.url is not None:
        await asyncio.to_thread(lambda: audio.sample_rate)
