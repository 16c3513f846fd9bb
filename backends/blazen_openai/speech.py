"""Speech of OpenAI, and of gateways that speak its API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from blazen.checks import unknown_name
from blazen.errors import UnsupportedError, ValidationError
from blazen.options.openai import OpenAiSpeechOptions
from blazen.options.provider import ProviderOptions
from blazen.protocols.tts import TTS
from blazen.speech.sentences import clauses, each_sentence
from blazen.types.audio import Audio
from blazen.types.speech import SpeechOptions, SpeechStream, VoiceInfo, as_speakable
from blazen_openai.asking import checked, given, refuse
from blazen_openai.hosted import OpenAiModel
from blazen_openai.pcm import NotSound, Samples

if TYPE_CHECKING:
    from openai import AsyncOpenAI

VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx"),
    *("sage", "shimmer", "verse"),
)
"""OpenAI's own voices, as its reference of November 2026 lists them."""
_OWN_VOICE = "voice_"
_LONGEST = 4096
_SPEEDS = (0.25, 4.0)
_REFUSED = {
    "volume": "the API has none; change the samples instead",
    "language": "the text decides in which language it is spoken",
}


class OpenAiSpeech(OpenAiModel, TTS):
    """A model of OpenAI that speaks, or of a gateway that speaks its API."""

    Options = OpenAiSpeechOptions
    options: OpenAiSpeechOptions
    _kind = "tts"
    _usual = "gpt-4o-mini-tts"

    def __init__(self, options: ProviderOptions | None = None) -> None:
        super().__init__(options)
        if self.options.instructions is not None and self._name.startswith("tts-1"):
            raise UnsupportedError(
                f"{self._model} takes no 'instructions': leave them out, or take gpt-4o-mini-tts"
            )
        self._check_voice(self.options.voice)

    def speak_stream(self, text: str, options: SpeechOptions | None = None) -> SpeechStream:
        """Speak piece by piece, as the samples come.

        A text that is longer than the API takes is spoken in several requests, one after another.
        """
        said, chosen = as_speakable(text), SpeechOptions.of(options)
        return SpeechStream.of(self._pieces(list(_parts(said)), self._fields(chosen)), at_once=True)

    async def voices(self) -> list[VoiceInfo]:
        """List OpenAI's own voices; each speaks any language, with the accent of English."""
        return [VoiceInfo(name, "en", installed=False) for name in VOICES]

    def _fields(self, chosen: SpeechOptions) -> dict[str, Any]:
        refuse(self._gateway.name, chosen, _REFUSED)
        voice = self.options.voice if chosen.voice is None else chosen.voice
        self._check_voice(voice)
        speed = self.options.speed if chosen.speed is None else chosen.speed
        if speed is not None and not _SPEEDS[0] <= speed <= _SPEEDS[1]:
            raise UnsupportedError(
                f"{self._model} takes a 'speed' from {_SPEEDS[0]} to {_SPEEDS[1]}, not {speed!r}"
            )
        own = voice.startswith(_OWN_VOICE)
        return {
            "model": self._model,
            "voice": {"id": voice} if own else voice,
            "response_format": self.options.format,
            **given(speed=speed, instructions=self.options.instructions),
        }

    def _check_voice(self, voice: str) -> None:
        ours = self._name.startswith(("tts-1", "gpt-"))
        if ours and voice not in VOICES and not voice.startswith(_OWN_VOICE):
            raise ValidationError(unknown_name("voice", voice, VOICES))

    async def _pieces(
        self, parts: list[str], fields: dict[str, Any]
    ) -> AsyncGenerator[Audio, None]:
        for part in parts:
            samples = Samples(
                sample_rate=self.options.sample_rate, wav=self.options.format == "wav"
            )
            some = False
            try:
                async with aclosing(self._bytes(part, fields)) as incoming:
                    async for data in incoming:
                        for piece in samples.feed(data):
                            some = True
                            yield piece
                for piece in samples.flush():
                    some = True
                    yield piece
            except NotSound as error:
                raise self._sdk.malformed(str(error), error) from error
            if not some:
                raise self._sdk.malformed("an answer without any sound")

    def _bytes(self, text: str, fields: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        async def begin(client: AsyncOpenAI) -> AsyncIterator[bytes]:
            opening = client.audio.speech.with_streaming_response.create(
                input=text, extra_body=self._extra(), **fields
            )
            # Not left again: whoever reads the bytes closes their connection.
            response = await opening.__aenter__()
            kind = response.headers.get("content-type", "").lower()
            if kind.startswith("text/"):
                checked(self._sdk, await response.read())
            body: AsyncIterator[bytes] = response.iter_bytes()
            return body

        return self._sdk.events(begin, wanted="sound")


def _parts(text: str) -> Iterator[str]:
    """Cut a text that is too long for one request, between sentences where that can be."""
    if len(text) <= _LONGEST:
        yield text
        return
    part = ""
    for sentence in each_sentence(text):
        for clause in clauses(sentence, _LONGEST):
            if part and len(part) + 1 + len(clause) > _LONGEST:
                yield part
                part = ""
            part = f"{part} {clause}" if part else clause
    yield part
