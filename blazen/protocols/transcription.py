"""Transcription: speech in, text out."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from blazen.options import OpenAiTranscriptionOptions, WhisperOptions
from blazen.protocols.hosted import Hosted
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.transcription import (
    TranscriptionRequest,
    TranscriptionResponse,
    TranscriptionStream,
)


class TranscriptionFactory(Factory[P, O, "LocalTranscription"]):
    """Builds a transcriber that runs on this machine."""

    kind = "transcription"


class HostedTranscriptionFactory(Factory[P, O, "HostedTranscription"]):
    """Builds a transcriber that a provider runs."""

    kind = "transcription"


class TranscriptionKind(Kind):
    """The factories of `Transcription`."""

    kind = "transcription"

    openai = HostedTranscriptionFactory("openai", OpenAiTranscriptionOptions)
    whispercpp = TranscriptionFactory("whispercpp", WhisperOptions)


@runtime_checkable
class Transcription(Protocol, metaclass=TranscriptionKind):
    """A model that writes down speech.

    A request is a `TranscriptionRequest`, an `Audio`, or whatever `Audio.of` takes: a path, bytes,
    a URL. A subclass writes `transcribe_stream` and has the rest.
    """

    def transcribe_stream(self, request: TranscriptionRequest | Any) -> TranscriptionStream:
        """Give the transcript piece by piece."""
        ...

    async def transcribe(self, request: TranscriptionRequest | Any) -> TranscriptionResponse:
        """Give the whole transcript."""
        return await self.transcribe_stream(request).collect()


@runtime_checkable
class HostedTranscription(Transcription, Hosted, Protocol):
    """A transcriber that runs elsewhere."""


@runtime_checkable
class LocalTranscription(Transcription, Local, Protocol):
    """A transcriber on this machine."""
