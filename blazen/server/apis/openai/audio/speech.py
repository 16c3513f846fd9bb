"""``/v1/audio/speech`` and ``/v1/audio/voices``: text that is spoken, and by whom."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from blazen.errors import UnsupportedError
from blazen.server.apis.openai.audio.encoding import MEDIA_TYPES, SpeechFile
from blazen.server.failures import Refusal, Shape
from blazen.server.fields import Body, Number, Text
from blazen.server.service import Service, service_of
from blazen.server.streaming import EVENT_STREAM, Event, raw, sse
from blazen.server.work import while_connected
from blazen.types.speech import SpeechOptions, SpeechStream, VoiceInfo

router = APIRouter()

LONGEST = 100_000
"""Characters of one text: hours of speech."""

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in MEDIA_TYPES.values()
            },
            **EVENT_STREAM,
        }
    }
}


class VoiceName(Body):
    """A voice, where it comes as an object."""

    id: Text


class SpeechAsked(Body):
    """What to say, and how."""

    input: Annotated[Text, Field(min_length=1, max_length=LONGEST)]
    model: str | None = None
    voice: Text | VoiceName | None = None
    """One of the model's; left out, or ``default``, the model's own."""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[Number, Field(ge=0.1, le=10)] | None = None
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = None
    language: str | None = None
    """Which language the text is in, for voices of several: not of OpenAI's API."""
    volume: Annotated[Number, Field(ge=0, le=10)] | None = None
    """1.0 is the voice's own: not of OpenAI's API."""


class Voice(BaseModel):
    """A voice that can be asked for."""

    id: str
    object: Literal["audio.voice"]
    name: str
    language: str
    gender: str | None
    installed: bool
    """Whether it is on this machine; else it is fetched when it is first asked for."""


class Voices(BaseModel):
    """The voices of a model."""

    object: Literal["list"]
    model: str
    data: list[Voice]
    voices: list[str]
    """The names alone."""


@router.post("/speech", response_class=Response, responses=_ANSWERS)
async def create_speech(request: Request, body: SpeechAsked) -> Response:
    """Speak a text; the sound is sent as it is made."""
    if body.instructions:
        raise Refusal(
            400,
            "'instructions' are not supported: a voice here can't be told how to speak",
            param="instructions",
        )
    service = service_of(request)
    id = await service.open.name_of(body.model, "tts")  # noqa: A001 - the manager's word
    voice = body.voice.id if isinstance(body.voice, VoiceName) else body.voice
    options = SpeechOptions(
        voice=None if voice in (None, "", "default") else voice,
        language=body.language,
        speed=body.speed,
        volume=body.volume,
    )
    pieces = _encoded(service.manager.speak_stream(id, body.input, options), body.response_format)
    if body.stream_format == "sse":
        return sse(request, _events(pieces), Shape.OpenAi, done=True)
    return raw(request, pieces, MEDIA_TYPES[body.response_format])


@router.get("/voices", response_model=Voices)
async def list_voices(
    request: Request, model: Annotated[str | None, Query(description="A model that speaks.")] = None
) -> Voices:
    """List the voices of a model, which is loaded for it."""
    service = service_of(request)
    id = await service.open.name_of(model, "tts")  # noqa: A001 - the manager's word
    found = await while_connected(request, _voices(service, id))
    rows = [
        Voice(
            id=name,
            object="audio.voice",
            name=name,
            language=voice.language,
            gender=voice.gender,
            installed=voice.installed,
        )
        for voice in found
        for name in voice.speaker_names or (voice.name,)
    ]
    return Voices(object="list", model=id, data=rows, voices=[row.id for row in rows])


async def _voices(service: Service, id: str) -> list[VoiceInfo]:  # noqa: A002
    async with service.manager.lease(id) as model:
        voices = getattr(model, "voices", None)
        if voices is None:
            raise UnsupportedError(f"{id!r} does not tell its voices")
        found: list[VoiceInfo] = await voices()
        return found


async def _encoded(stream: SpeechStream, form: str) -> AsyncIterator[bytes]:
    file = SpeechFile(form)
    async with stream:
        async for piece in stream:
            if data := await asyncio.to_thread(file.push, piece):
                yield data
    if data := await asyncio.to_thread(file.finish):
        yield data


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    async with aclosing(pieces) as sounds:  # type: ignore[type-var]
        async for data in sounds:
            kind = "speech.audio.delta"
            yield Event(kind, {"type": kind, "audio": base64.b64encode(data).decode("ascii")})
    yield Event("speech.audio.done", {"type": "speech.audio.done"})
