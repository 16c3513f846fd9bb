"""Speech: text in, audio out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from blazen.options import KokoroOptions, OpenAiSpeechOptions, PiperOptions
from blazen.protocols.hosted import Hosted
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.audio import Audio
from blazen.types.speech import SpeechOptions, SpeechStream


class TTSFactory(Factory[P, O, "LocalTTS"]):
    """Builds a voice that runs on this machine."""

    kind = "tts"


class HostedTTSFactory(Factory[P, O, "HostedTTS"]):
    """Builds a voice that a provider runs."""

    kind = "tts"


class TTSKind(Kind):
    """The factories of `TTS`."""

    kind = "tts"

    openai = HostedTTSFactory("openai", OpenAiSpeechOptions)
    kokoro = TTSFactory("kokoro", KokoroOptions)
    piper = TTSFactory("piper", PiperOptions)


@runtime_checkable
class TTS(Protocol, metaclass=TTSKind):
    """A model that speaks. A subclass writes `speak_stream` and has the rest."""

    def speak_stream(self, text: str, options: SpeechOptions | None = None) -> SpeechStream:
        """Speak piece by piece, the first while the rest is still being made."""
        ...

    async def speak(self, text: str, options: SpeechOptions | None = None) -> Audio:
        """Speak, and give the whole audio."""
        return await self.speak_stream(text, options).collect()


@runtime_checkable
class HostedTTS(TTS, Hosted, Protocol):
    """A voice that runs elsewhere."""


@runtime_checkable
class LocalTTS(TTS, Local, Protocol):
    """A voice on this machine."""
