"""Images and audio in messages, as OpenAI's API takes them."""

from __future__ import annotations

import base64

from blazen.errors import UnsupportedError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage
from blazen.types.image import Image
from blazen.types.source import data_url
from blazen_openai.families import Capabilities
from blazen_openai.gateway import Gateway

_SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif")
_HEARD = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def check_parts(
    gateway: Gateway, capabilities: Capabilities, messages: list[ChatMessage], *, chat: bool
) -> None:
    """Refuse images and audio where they are not taken."""
    for message in messages:
        for part in message.parts:
            if isinstance(part, str):
                continue
            what = "audio" if isinstance(part, Audio) else "images"
            if message.role.value != "user":
                raise UnsupportedError(
                    f"the {gateway.name!r} backend takes no {what} in a message of the role "
                    f"{message.role.value!r}: show them in a user's message"
                )
            if isinstance(part, Image) and not gateway.images:
                raise UnsupportedError(
                    f"the {gateway.name!r} backend takes no images: {gateway.title} reads text only"
                )
            if isinstance(part, Audio) and not (chat and capabilities.hears):
                raise UnsupportedError(
                    f"the {gateway.name!r} backend takes no audio for this model: transcribe it "
                    "first, or name a model that hears, such as gpt-audio, with api='chat'"
                )


def image_url(gateway: Gateway, image: Image) -> str:
    """Give the URL of an image that is on the web, or one that holds it."""
    if image.url is not None and gateway.images == "url":
        return image.url
    if image.media_type in _SHOWN:
        return image.to_data_url()
    return data_url(image.to_bytes("png"), "image/png")


def input_audio(audio: Audio) -> dict[str, str]:
    """Give a sound as the API takes it: WAV or MP3."""
    known = _HEARD.get(audio.media_type or "")
    data = audio.to_bytes("wav") if known is None else audio.to_bytes()
    return {"data": base64.b64encode(data).decode("ascii"), "format": known or "wav"}
