"""``/v1/audio/transcriptions`` and ``/v1/audio/translations``: what is said in a sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from blazen.errors import ValidationError
from blazen.server.apis.openai.audio.transcripts import Transcript, VerboseTranscript, written
from blazen.server.failures import Refusal, Shape
from blazen.server.service import Service, service_of
from blazen.server.settings import ServerSettings
from blazen.server.streaming import EVENT_STREAM, Event, sse
from blazen.server.work import while_connected
from blazen.types.audio import Audio
from blazen.types.transcription import TranscriptionRequest, TranscriptionStream

router = APIRouter()

_BLOCK = 10.0
"""Seconds of sound that are decoded at a time while its length is found out."""

_REFUSED = {
    "include": "the engines tell no probabilities of a transcript's tokens",
    "known_speaker_names": "who speaks is not told",
    "known_speaker_references": "who speaks is not told",
    "keywords": "say in 'prompt' how names are spelt",
    "languages": "give one 'language', or none to have it found out",
}

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            **EVENT_STREAM,
        }
    }
}

Sound = Annotated[UploadFile, File(description="WAV, FLAC, MP3, Ogg, M4A, WebM and more.")]
Name = Annotated[str | None, Form()]
Prompt = Annotated[str | None, Form(description="What was said before; how names are spelt.")]
Wanted = Annotated[Literal["json", "text", "srt", "verbose_json", "vtt"], Form()]
Temperature = Annotated[float | None, Form(ge=0, le=1, allow_inf_nan=False)]
Granularities = list[Literal["word", "segment"]] | None


@router.post("/transcriptions", response_model=Transcript | VerboseTranscript, responses=_ANSWERS)
async def create_transcription(
    request: Request,
    file: Sound,
    model: Name = None,
    language: Annotated[str | None, Form(description="A code such as `en`.")] = None,
    prompt: Prompt = None,
    response_format: Wanted = "json",
    temperature: Temperature = None,
    granularities: Annotated[Granularities, Form(alias="timestamp_granularities[]")] = None,
    more_granularities: Annotated[Granularities, Form(alias="timestamp_granularities")] = None,
    stream: Annotated[bool, Form()] = False,
) -> Response:
    """Write down what is said, in its own language."""
    await _refuse(request)
    wanted = frozenset([*(granularities or ()), *(more_granularities or ())] or ("segment",))
    if "word" in wanted and response_format in ("json", "text"):
        raise Refusal(
            400,
            f"{response_format!r} shows no times of words: take the response_format 'verbose_json'",
            param="timestamp_granularities[]",
        )
    settings: dict[str, Any] = {
        "language": language or None,
        "prompt": prompt or None,
        "temperature": temperature,
        "words": "word" in wanted,
    }
    return await _hear(request, file, model, response_format, wanted, settings, stream=stream)


@router.post("/translations", response_model=Transcript | VerboseTranscript, responses=_ANSWERS)
async def create_translation(
    request: Request,
    file: Sound,
    model: Name = None,
    prompt: Prompt = None,
    response_format: Wanted = "json",
    temperature: Temperature = None,
    language: Annotated[str | None, Form(description="The language that is spoken.")] = None,
) -> Response:
    """Write down in English what is said in another language."""
    await _refuse(request)
    settings: dict[str, Any] = {
        "language": language or None,
        "prompt": prompt or None,
        "temperature": temperature,
        "translate": True,
    }
    wanted = frozenset({"segment"})
    return await _hear(request, file, model, response_format, wanted, settings)


async def _hear(
    request: Request,
    file: UploadFile,
    model: str | None,
    form: str,
    wanted: frozenset[str],
    settings: dict[str, Any],
    *,
    stream: bool = False,
) -> Response:
    service = service_of(request)
    id = await service.open.name_of(model, "transcription")  # noqa: A001 - the manager's word
    data = await file.read()
    if not data:
        raise Refusal(400, "the file is empty: send a sound", param="file")
    asked = TranscriptionRequest(Audio.from_bytes(data), **settings)
    if stream:
        if form not in ("json", "text"):
            raise Refusal(
                400, f"a stream has no {form!r}: take the response_format 'json'", param="stream"
            )
        return sse(request, _events(service, id, asked), Shape.OpenAi, done=True)
    heard = await while_connected(request, _transcribe(service, id, asked))
    return written(
        heard,
        form,
        translated=asked.translate,
        temperature=asked.temperature,
        wanted=wanted,
    )


async def _transcribe(service: Service, id: str, asked: TranscriptionRequest) -> Any:  # noqa: A002
    await _check_length(asked.audio, service.settings)
    return await service.manager.transcribe(id, asked)


async def _events(
    service: Service,
    id: str,  # noqa: A002
    asked: TranscriptionRequest,
) -> AsyncIterator[Event]:
    await _check_length(asked.audio, service.settings)
    stream: TranscriptionStream = service.manager.transcribe_stream(id, asked)
    begun, held = False, ""
    async with stream:
        async for chunk in stream:
            if not chunk.final or not chunk.text:
                continue
            # The pieces add up to the whole text, which has no blanks around it.
            text = held + (chunk.text if begun else chunk.text.lstrip())
            said = text.rstrip()
            held = text[len(said) :] if said else held
            if said:
                begun = True
                yield _event("transcript.text.delta", delta=said)
        yield _event("transcript.text.done", text=stream.response.text)


def _event(kind: str, **data: Any) -> Event:
    return Event(kind, {"type": kind, **data})


async def _check_length(audio: Any, settings: ServerSettings) -> None:
    """Refuse a sound that is too long before an engine is taken up with it."""
    stopped = False

    def check() -> None:
        # A header can say what it likes: only what was decoded is believed, block by block.
        known, heard = audio.known_duration, 0.0
        if known is None or known <= settings.max_sound:
            for block in audio.blocks(_BLOCK, sample_rate=16_000, channels=1):
                heard += len(block) / 16_000
                if stopped or heard > settings.max_sound:
                    break
            known = heard
        if known > settings.max_sound:
            raise ValidationError(
                f"the sound lasts more than the {settings.max_sound:g} seconds that this server "
                "takes: send it in parts"
            )

    try:
        await asyncio.to_thread(check)
    finally:
        stopped = True


async def _refuse(request: Request) -> None:
    """Refuse what the API knows and no engine here does; what it does not know is passed over."""
    form = await request.form()
    for name, reason in _REFUSED.items():
        if form.getlist(name) or form.getlist(f"{name}[]"):
            raise Refusal(400, f"{name!r} is not supported: {reason}", param=name)
