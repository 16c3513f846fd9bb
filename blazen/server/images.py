"""Pictures and sounds of a request: what it carries itself, within the server's limits.

Nothing here ever opens a path: a text of a request is a data URL, base64, or, where the settings
allow it, a web address.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.image import Image
from blazen.types.source import from_base64

if TYPE_CHECKING:
    from blazen.server.settings import ServerSettings

_WEB = re.compile(r"https?://", re.IGNORECASE)


async def read_image(text: str, settings: ServerSettings) -> Image:
    """Take a picture from a data URL, or from the web where that is allowed."""
    if _WEB.match(text):
        if not settings.remote_images:
            raise UnsupportedError(
                "this server fetches no pictures from the web: send a data URL "
                "('data:image/png;base64,...'), or start it with remote_images"
            )
        from blazen.server.guard.remote import fetch_image

        data = await fetch_image(text, settings)
        return await asyncio.to_thread(_image_of_bytes, data, settings)
    if text[:5].lower() != "data:":
        raise ValidationError(
            f"a picture is sent as a data URL ('data:image/png;base64,...'), not as {text!r:.40}"
        )
    return await asyncio.to_thread(_image_of_data_url, text, settings)


async def read_base64_image(text: str, settings: ServerSettings) -> Image:
    """Take a picture from bare base64, as Ollama's API sends it."""
    if text[:5].lower() == "data:":
        return await asyncio.to_thread(_image_of_data_url, text, settings)
    return await asyncio.to_thread(
        lambda: _image_of_bytes(from_base64(text, what="the picture"), settings)
    )


async def read_audio(text: str, settings: ServerSettings) -> Audio:
    """Take a sound from base64 or a data URL."""
    return await asyncio.to_thread(_audio, text, settings)


def check_image(image: Image, settings: ServerSettings) -> Image:
    """Refuse a picture with more pixels than the server takes, before it is decoded."""
    width, height = image.size
    if width * height > settings.max_image_pixels:
        raise ValidationError(
            f"the picture is {width:,}×{height:,}: more than the {settings.max_image_pixels:,} "
            "pixels that this server takes; send a smaller one"
        )
    return image


def check_audio(audio: Audio, settings: ServerSettings) -> Audio:
    """Refuse a sound that lasts longer than the server takes."""
    seconds = audio.known_duration
    if seconds is None:
        # Its header does not say: decoded no further than the limit.
        seconds = 0.0
        for block in audio.blocks(1.0, sample_rate=8000, channels=1):
            seconds += len(block) / 8000
            if seconds > settings.max_sound:
                break
    if seconds > settings.max_sound:
        raise ValidationError(
            f"the sound lasts more than the {settings.max_sound:g} seconds that this server takes: "
            "send a shorter one"
        )
    return audio


def _image_of_data_url(text: str, settings: ServerSettings) -> Image:
    return check_image(Image.from_data_url(text), settings)


def _image_of_bytes(data: bytes, settings: ServerSettings) -> Image:
    return check_image(Image.from_bytes(data), settings)


def _audio(text: str, settings: ServerSettings) -> Audio:
    if text[:5].lower() == "data:":
        return check_audio(Audio.from_data_url(text), settings)
    return check_audio(Audio.from_bytes(from_base64(text, what="the sound")), settings)
