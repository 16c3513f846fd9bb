"""The tools of speech: `transcribe`, `speak`."""

from __future__ import annotations

import asyncio
import base64
import stat
from collections.abc import Iterable
from pathlib import Path

from mcp import types

from blazen.errors import ValidationError
from blazen.mcp import answers
from blazen.mcp.asking import SpeakArguments, TranscribeArguments, TranscribeFileArguments
from blazen.mcp.call import Call
from blazen.mcp.tool import Answer, Tool
from blazen.types.audio import Audio
from blazen.types.audio_codec import MEDIA_TYPES
from blazen.types.source import from_base64
from blazen.types.speech import SpeechOptions
from blazen.types.transcription import TranscriptionChunk, TranscriptionRequest


async def _transcribe(call: Call, asked: TranscribeArguments) -> Answer:
    request = TranscriptionRequest(
        _sound(asked, call.folders),
        language=asked.language,
        translate=asked.translate,
        prompt=asked.prompt,
    )
    id = await call.ready(asked.model, "transcription")  # noqa: A001

    def how(piece: TranscriptionChunk, count: int) -> tuple[float, float | None, str]:
        if piece.position is None:
            return count, None, f"{count} pieces"
        return piece.position, piece.duration, f"{piece.position:.0f} s heard"

    heard = await call.collect(call.manager.transcribe_stream(id, request), how)
    values = answers.Transcript(
        text=heard.text,
        segments=[
            answers.Segment(text=one.text, start=one.start, end=one.end) for one in heard.segments
        ],
        language=heard.language,
        duration=heard.duration,
        model=id,
    )
    text = heard.text if asked.format == "txt" else heard.render(asked.format)
    return Answer([types.TextContent(type="text", text=text)], values)


def _sound(asked: TranscribeArguments, folders: tuple[Path, ...]) -> Audio:
    path = asked.path if isinstance(asked, TranscribeFileArguments) else None
    if (asked.audio is None) == (path is None):
        raise ValidationError("give the sound either as audio or as path")
    if path is not None:
        return Audio.from_file(allowed(path, folders))
    return Audio.from_bytes(from_base64(asked.audio, what="audio"))


def allowed(path: str, folders: Iterable[Path]) -> Path:
    """Give the file behind a path, where it lies below a folder that the user allowed.

    Links are followed first, so that none leads out. What lies elsewhere is refused in the same
    words whether it is there or not.
    """
    roots = [folder.resolve() for folder in folders]
    refused = ValidationError(
        f"{path!r} is no file below the folders that may be read: "
        f"{', '.join(map(str, roots)) or 'none'}"
    )
    try:
        place = Path(path).expanduser().resolve(strict=True)
        if not any(place.is_relative_to(root) for root in roots):
            raise refused
        if not stat.S_ISREG(place.stat().st_mode):
            raise refused
    except (OSError, RuntimeError, ValueError):  # gone, a loop of links, a null byte
        raise refused from None
    return place


async def _speak(call: Call, asked: SpeakArguments) -> Answer:
    options = SpeechOptions(voice=asked.voice, language=asked.language, speed=asked.speed)
    id = await call.ready(asked.model, "tts")  # noqa: A001
    spoken = 0.0

    def how(piece: Audio, _count: int) -> tuple[float, None, str]:
        nonlocal spoken
        spoken += piece.duration
        return spoken, None, f"{spoken:.1f} s of speech"

    audio = await call.collect(call.manager.speak_stream(id, asked.text, options), how)
    data = await asyncio.to_thread(audio.to_bytes, asked.format)
    media_type = MEDIA_TYPES[asked.format]
    values = answers.Speech(
        seconds=audio.duration,
        sample_rate=audio.sample_rate,
        format=asked.format,
        mime_type=media_type,
        size=len(data),
        model=id,
    )
    sound = types.AudioContent(
        type="audio", data=base64.b64encode(data).decode("ascii"), mime_type=media_type
    )
    text = f"{audio.duration:.1f} seconds of speech by {id}"
    return Answer([sound, types.TextContent(type="text", text=text)], values)


_DESCRIPTION = (
    "Write down the speech in a sound file, on this machine: as text, or as subtitles. A long "
    "sound takes a while; the progress says how far it is."
)
TRANSCRIBE = Tool(
    name="transcribe",
    title="Turn speech into text",
    description=_DESCRIPTION,
    takes=TranscribeArguments,
    gives=answers.Transcript,
    work=_transcribe,
)
TRANSCRIBE_FILES = Tool(
    name="transcribe",
    title="Turn speech into text",
    description=f"{_DESCRIPTION} Files below the allowed folders are named by their path.",
    takes=TranscribeFileArguments,
    gives=answers.Transcript,
    work=_transcribe,
)
SPEAK = Tool(
    name="speak",
    title="Read a text aloud",
    description="Read a text aloud with a voice on this machine, and give the sound file.",
    takes=SpeakArguments,
    gives=answers.Speech,
    work=_speak,
)
