"""OpenAI's embeddings, transcriptions, translations, speech and images, as published.

Shapes, limits and names are those of the API reference (developers.openai.com/api/reference:
embeddings, audio, images and their streaming events), as the official SDK 3.52 states them. Echo
backends answer. What the reference does not allow is refused with 400, in the API's error shape.
"""

from __future__ import annotations

import base64
import math
import re
from array import array
from collections.abc import Callable, Mapping
from typing import Any

from blazen.testing import EchoEmbedding, EchoImage, EchoTranscription, EchoTTS
from blazen.types.audio import Audio
from blazen.types.image import Image
from tests.remote.misbehaving import Behaviour, Request, Wire
from tests.wire.openai import KEY, Refused
from tests.wire.openai_media_rules import (
    Checks,
    Chunked,
    checked,
    form_of,
    is_flag,
    is_number,
    is_one_of,
    is_text,
    is_whole,
    json_of,
)

VOICES = (
    *("alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer"),
    *("verse", "marin", "cedar"),
)
MAX_FILE = 25 * 1024 * 1024

EMBEDDERS = {"text-embedding-3-small": 64, "text-embedding-3-large": 64}
"""With how many numbers the echo's vectors begin; the real ones have 1,536 and 3,072."""
LEGACY_EMBEDDER = "text-embedding-ada-002"
TALKERS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
JSON_HEARERS = ("gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
DIARIZER = "gpt-4o-transcribe-diarize"
PAINTERS = ("gpt-image-1.5", "gpt-image-1-mini", "gpt-image-2", "gpt-image-2.5-sunburst")
OLD_SIZES = ("1024x1024", "1536x1024", "1024x1536", "auto")


def media() -> Behaviour:
    """Behave as the API does."""
    handlers: dict[str, Callable[[Wire, Request], Any]] = {
        "/v1/embeddings": _embeddings,
        "/v1/audio/transcriptions": _transcriptions,
        "/v1/audio/translations": _translations,
        "/v1/audio/speech": _speech,
        "/v1/images/generations": _generations,
        "/v1/images/edits": _edits,
    }

    async def behave(wire: Wire, request: Request) -> None:
        try:
            if request.key != f"Bearer {KEY}":
                said = f"Incorrect API key provided: {request.key}."
                raise Refused(said, code="invalid_api_key", status=401)
            handler = handlers.get(request.path)
            if handler is None or request.method != "POST":
                said = f"Invalid URL ({request.method} {request.path})"
                raise Refused(said, status=404)
            await handler(wire, request)
        except Refused as refused:
            await wire.answer(refused.body, refused.status, x_request_id="req_7")

    return behave


# Embeddings.

_EMBEDDING: Checks = {
    "model": is_text,
    "input": lambda value: isinstance(value, (str, list)),
    "dimensions": is_whole(1, 3072),
    "encoding_format": is_one_of("float", "base64"),
    "user": is_text,
}


async def _embeddings(wire: Wire, request: Request) -> None:
    body = checked(json_of(request), _EMBEDDING, "model", "input")
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not texts or len(texts) > 2048 or not all(isinstance(text, str) and text for text in texts):
        raise Refused("'$.input' is invalid.", param="input")
    if body["model"] not in (*EMBEDDERS, LEGACY_EMBEDDER):
        raise _no_model(body["model"])
    if "dimensions" in body and body["model"] == LEGACY_EMBEDDER:
        raise Refused("This model does not support specifying dimensions.")
    counts = [max(1, len(text.split())) for text in texts]
    if max(counts) > 8192:
        raise Refused(
            f"This model's maximum context length is 8192 tokens, however you requested "
            f"{max(counts)} tokens ({max(counts)} in your prompt; 0 for the completion). Please "
            "reduce your prompt; or completion length."
        )
    if sum(counts) > 300_000:
        raise Refused(f"Requested {sum(counts)} tokens, max 300000 tokens per request")
    answer = await EchoEmbedding().embed(texts)
    rows = [_shortened(list(row), body.get("dimensions")) for row in answer.embeddings]
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": packed_row(row) if packed else row}
        for place, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    await wire.answer({"object": "list", "data": data, "model": body["model"], "usage": usage})


def packed_row(row: list[float]) -> str:
    """Give a vector as the API packs it."""
    return base64.b64encode(array("f", row).tobytes()).decode()


def _shortened(row: list[float], dimensions: int | None) -> list[float]:
    row = row[:dimensions]
    length = math.sqrt(math.fsum(number * number for number in row)) or 1.0
    return [number / length for number in row]


def _no_model(name: str) -> Refused:
    said = f"The model `{name}` does not exist or you do not have access to it."
    return Refused(said, code="model_not_found", status=404)


# Transcriptions and translations.

_LANGUAGE = re.compile("[a-z]{2,3}")


def _is_sound(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and re.search(r"\.(flac|mp3|mp4|mpeg|mpga|m4a|ogg|wav|webm)$", value[0]) is not None
        and value[2].startswith(("audio/", "video/"))
    )


_TRANSLATION: Checks = {
    "file": _is_sound,
    "model": is_text,
    "prompt": is_text,
    "response_format": is_one_of("json", "text", "srt", "verbose_json", "vtt"),
    "temperature": is_number(0, 1),
}
_TRANSCRIPTION: Checks = {
    **_TRANSLATION,
    "response_format": is_one_of("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    "chunking_strategy": is_one_of("auto"),
    "include": lambda value: value == ["logprobs"],
    "keywords": lambda value: isinstance(value, list),
    "language": lambda value: _LANGUAGE.fullmatch(value) is not None,
    "languages": lambda value: all(map(_LANGUAGE.fullmatch, value)),
    "stream": is_flag,
    "timestamp_granularities": lambda value: set(value) <= {"word", "segment"},
}


async def _transcriptions(wire: Wire, request: Request) -> None:
    form = form_of(request, {"temperature": float}, ("stream",))
    asked = checked(form, _TRANSCRIPTION, "file", "model")
    model = asked["model"]
    if model not in ("whisper-1", DIARIZER, *JSON_HEARERS):
        raise _no_model(model)
    wanted = asked.get("response_format", "json")
    if "timestamp_granularities" in asked and wanted != "verbose_json":
        raise Refused("timestamp_granularities needs verbose_json", param="response_format")
    if model != "whisper-1" and wanted not in ("json", *["diarized_json"] * (model == DIARIZER)):
        said = f"response_format '{wanted}' is not compatible with model '{model}'."
        raise Refused(said, param="response_format", code="unsupported_value")
    if model != "gpt-transcribe" and {"languages", "keywords"} & set(asked):
        raise Refused(f"'{model}' takes no keywords and no languages")
    if model == DIARIZER and "prompt" in asked:
        raise Refused("Prompt is not supported for diarization models", param="prompt")
    heard = await _heard(asked)
    if model == DIARIZER and heard.duration > 30 and "chunking_strategy" not in asked:
        raise Refused("chunking_strategy is required for diarization models")
    if asked.get("stream") and model != "whisper-1":
        await _transcript_events(wire, heard, model, diarized=wanted == "diarized_json")
    elif wanted == "verbose_json":
        granularities = asked.get("timestamp_granularities", ["segment"])
        await wire.answer(_verbose(heard, granularities))
    elif wanted == "diarized_json":
        segments = [_speaker_segment(*each) for each in enumerate(heard.segments)]
        told = {"task": "transcribe", "duration": heard.duration, "text": heard.text}
        await wire.answer({**told, "segments": segments, "usage": _seconds(heard)})
    else:
        await wire.answer({"text": heard.text, "usage": _TOKENS, **_languages(model)})


async def _translations(wire: Wire, request: Request) -> None:
    form = form_of(request, {"temperature": float}, ())
    asked = checked(form, _TRANSLATION, "file", "model")
    if asked["model"] != "whisper-1":
        raise _no_model(asked["model"])
    heard = await _heard(asked)
    if asked.get("response_format") != "verbose_json":
        await wire.answer({"text": heard.text})
        return
    await wire.answer({**_verbose(heard, ["segment"]), "task": "translate", "language": "english"})


async def _heard(asked: Mapping[str, Any]) -> Any:
    data = asked["file"][1]
    if len(data) > MAX_FILE:
        said = f"Maximum content size limit ({MAX_FILE}) exceeded ({len(data)} bytes read)"
        raise Refused(said, status=413)
    sound = Audio.from_bytes(data)
    if sound.duration < 0.1:
        raise Refused("Audio file is too short. Minimum audio length is 0.1 seconds.", param="file")
    return await EchoTranscription().transcribe({"audio": sound, "words": True})


def _verbose(heard: Any, granularities: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "task": "transcribe",
        "language": "english",
        "duration": round(heard.duration, 2),
        "text": heard.text,
        "usage": _seconds(heard),
    }
    if "segment" in granularities:
        told["segments"] = [
            {
                "id": place,
                "seek": 0,
                "start": segment.start,
                "end": segment.end,
                "text": f" {segment.text}",
                "tokens": [50364, 50365],
                "temperature": 0.0,
                "avg_logprob": -0.25,
                "compression_ratio": 1.2,
                "no_speech_prob": 0.01,
            }
            for place, segment in enumerate(heard.segments)
        ]
    if "word" in granularities:
        told["words"] = [
            {"word": word.text, "start": word.start, "end": word.end}
            for segment in heard.segments
            for word in segment.words
        ]
    return told


async def _transcript_events(wire: Wire, heard: Any, model: str, *, diarized: bool) -> None:
    out = Chunked(wire)
    await out.begin("text/event-stream; charset=utf-8")
    for place, segment in enumerate(heard.segments):
        delta = {
            "type": "transcript.text.delta",
            "delta": f" {segment.text}" if place else segment.text,
        }
        if diarized:
            delta["segment_id"] = f"seg_{place:03}"
        await out.event(delta)
        if diarized:
            await out.event(_speaker_segment(place, segment))
    done = {"type": "transcript.text.done", "text": heard.text, "usage": _TOKENS}
    await out.event({**done, **_languages(model)})
    await out.end()


_TOKENS = {
    "type": "tokens",
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
    "output_tokens": 45,
    "total_tokens": 59,
}


def _languages(model: str) -> dict[str, Any]:
    return {"languages": [{"code": "en"}]} if model == "gpt-transcribe" else {}


def _seconds(heard: Any) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(heard.duration)}


def _speaker_segment(place: int, segment: Any) -> dict[str, Any]:
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{place:03}",
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "speaker": "AB"[place % 2],
    }


# Speech.

_SPEECH: Checks = {
    "model": is_one_of(*TALKERS),
    "input": lambda value: isinstance(value, str) and 0 < len(value) <= 4096,
    "voice": lambda value: (
        value in VOICES
        or (isinstance(value, dict) and re.fullmatch(r"voice_\w+", value.get("id", "")) is not None)
    ),
    "instructions": is_text,
    "response_format": is_one_of("mp3", "opus", "aac", "flac", "wav", "pcm"),
    "speed": is_number(0.25, 4),
    "stream_format": is_one_of("audio", "sse"),
}


async def _speech(wire: Wire, request: Request) -> None:
    body = checked(json_of(request), _SPEECH, "model", "input", "voice")
    if body["model"].startswith("tts-1") and "instructions" in body:
        raise Refused("instructions are not supported by this model", param="instructions")
    wanted = body.get("response_format", "mp3")
    if wanted not in ("pcm", "wav"):
        raise Refused(f"this server writes no {wanted}")
    pieces = EchoTTS().speak_stream(body["input"], {"speed": body.get("speed")})
    out = Chunked(wire)
    await out.begin("audio/pcm" if wanted == "pcm" else "audio/wav")
    if wanted == "wav":
        await out.send(wav_head(24_000))
    async for piece in pieces:
        await out.send(piece.pcm16())
    await out.end()


def wav_head(rate: int, channels: int = 1, bits: int = 16) -> bytes:
    """Give the head of a WAV whose length is not known yet, as the API streams it."""
    unknown = (0xFFFFFFFF).to_bytes(4, "little")
    frame = channels * bits // 8
    numbers = ((16, 4), (1, 2), (channels, 2), (rate, 4), (rate * frame, 4), (frame, 2), (bits, 2))
    fmt = b"".join(number.to_bytes(size, "little") for number, size in numbers)
    return b"RIFF" + unknown + b"WAVEfmt " + fmt + b"data" + unknown


# Images.


def _is_size(value: Any) -> bool:
    return value == "auto" or re.fullmatch("[0-9]+x[0-9]+", value) is not None


_IMAGE: Checks = {
    "prompt": lambda value: isinstance(value, str) and 0 < len(value) <= 32_000,
    "model": is_one_of(*PAINTERS),
    "background": is_one_of("transparent", "opaque", "auto"),
    "n": is_whole(1, 10),
    "output_compression": is_whole(0, 100),
    "output_format": is_one_of("png", "webp", "jpeg"),
    "partial_images": is_whole(0, 3),
    "quality": is_one_of("low", "medium", "high", "xhigh", "max", "auto"),
    "size": _is_size,
    "stream": is_flag,
    "user": is_text,
    "safety_identifier": is_text,
}
_GENERATION: Checks = {**_IMAGE, "moderation": is_one_of("low", "auto")}


def _is_picture(value: Any) -> bool:
    return isinstance(value, tuple) and value[2] in ("image/png", "image/jpeg", "image/webp")


_EDIT: Checks = {
    **_IMAGE,
    "image": lambda value: all(map(_is_picture, value if isinstance(value, list) else [value])),
    "mask": lambda value: isinstance(value, tuple) and value[2] == "image/png",
    "input_fidelity": is_one_of("high", "low"),
}


async def _generations(wire: Wire, request: Request) -> None:
    body = checked(json_of(request), _GENERATION, "prompt", "model")
    await _paint(wire, body, "image_generation", body["prompt"])


async def _edits(wire: Wire, request: Request) -> None:
    numbers = {"n": int, "output_compression": int, "partial_images": int}
    body = checked(form_of(request, numbers, ("stream",)), _EDIT, "image", "prompt", "model")
    given = body["image"] if isinstance(body["image"], list) else [body["image"]]
    source = Image.from_bytes(given[0][1])
    about = f"{body['prompt']} {source.size}"
    if "mask" in body:
        if len(body["mask"][1]) > 4_000_000:
            raise Refused("The mask is too large.", param="mask")
        mask = Image.from_bytes(body["mask"][1])
        if mask.size != source.size or mask.to_pil().mode != "RGBA":
            raise Refused("Invalid mask image format - mask size does not match image size")
        open_ones = sum(1 for alpha in mask.to_pil().getchannel("A").tobytes() if not alpha)
        about = f"{about} {open_ones}"
    await _paint(wire, body, "image_edit", about)


async def _paint(wire: Wire, body: Mapping[str, Any], kind: str, about: str) -> None:
    if "forbidden" in body["prompt"]:
        raise Refused(
            "Your request was rejected by the safety system. If you believe this is an error, "
            "contact us at help.openai.com and include the request ID req_7. "
            "safety_violations=[violence].",
            code="moderation_blocked",
        )
    count, size = body.get("n", 1), body.get("size", "auto")
    if body["model"].startswith("gpt-image-1") and size not in OLD_SIZES:
        raise Refused(f"Invalid size '{size}'.", param="size", code="invalid_value")
    width, height = map(int, (size if size != "auto" else "1024x1024").split("x"))
    if width % 16 or height % 16 or max(width, height) > 3840:
        raise Refused(f"Invalid size '{size}'.", param="size", code="invalid_value")
    options = {"width": width, "height": height, "count": count, "seed": 7}
    made = await EchoImage().generate(about, options)
    pictures = [base64.b64encode(image.to_bytes("png")).decode() for image in made.images]
    told = {
        "created": 1713833628,
        "background": "opaque",
        "output_format": "png",
        "quality": "high",
        "size": f"{width}x{height}",
    }
    if not body.get("stream"):
        data = [{"b64_json": picture} for picture in pictures]
        await wire.answer({**told, "data": data, "usage": _IMAGE_USAGE}, x_request_id="req_7")
        return
    told["created_at"] = told.pop("created")
    out = Chunked(wire)
    await out.begin("text/event-stream; charset=utf-8")
    for place in range(body.get("partial_images", 0)):
        part = {"type": f"{kind}.partial_image", "b64_json": pictures[0]}
        await out.event({**part, **told, "partial_image_index": place}, named=True)
    for picture in pictures:
        done = {"type": f"{kind}.completed", "b64_json": picture}
        await out.event({**done, **told, "usage": _IMAGE_USAGE}, named=True)
    await out.end()


_IMAGE_USAGE = {
    "total_tokens": 100,
    "input_tokens": 50,
    "output_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}
