"""What a request for images says, within what the server and its engines can do."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import Field

from blazen.server.failures import Refusal
from blazen.server.fields import WHOLE, Body, Flag, Number, Text
from blazen.server.images import check_image
from blazen.server.settings import ServerSettings
from blazen.types.generation import ImageOptions
from blazen.types.image import Image

MOST = 10
"""How many images one request may ask for, as in OpenAI's own API."""

MOST_PIXELS = 2048 * 2048
"""Of an image that is made: an engine's memory grows with the square of it."""

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)


class ImageAsked(Body):
    """What the images are to show, and how they are to be made."""

    prompt: Annotated[Text, Field(min_length=1, max_length=32_000)]
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST), WHOLE] | None = None
    size: str | None = None
    """Width and height, as ``512x512``; ``auto`` is the model's own."""
    quality: str | None = None
    response_format: str | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100), WHOLE] | None = None
    background: Literal["auto", "opaque", "transparent"] | None = None
    style: str | None = None
    stream: Flag | None = None
    partial_images: Annotated[int, Field(ge=0, le=3), WHOLE] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**64), WHOLE] | None = None
    """With it the same image can be made again: not of OpenAI's API, as what follows."""
    negative_prompt: Text | None = None
    steps: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    guidance: Annotated[Number, Field(ge=0)] | None = None
    strength: Annotated[Number, Field(ge=0, le=1)] | None = None
    scheduler: str | None = None

    def options(self, settings: ServerSettings, **more: Any) -> ImageOptions:
        """Give them as `ImageOptions`; what no engine here can do is refused by its name."""
        _refuse(self)
        width, height = _size(self.size, settings)
        return ImageOptions(
            negative_prompt=self.negative_prompt or None,
            width=width,
            height=height,
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            count=self.n or 1,
            strength=self.strength,
            scheduler=self.scheduler,
            **more,
        )


def _refuse(body: ImageAsked) -> None:
    if body.response_format not in (None, "", "b64_json"):
        raise Refusal(
            400,
            f"response_format {body.response_format!r:.40} is not supported: this server keeps no "
            "images that a URL could lead to; take 'b64_json'",
            param="response_format",
        )
    if body.quality not in (None, "", "auto", "standard"):
        raise Refusal(
            400,
            f"quality {body.quality!r:.40} is not supported: say with 'steps' how much work goes "
            "into an image",
            param="quality",
        )
    if body.background == "transparent":
        raise Refusal(
            400, "background 'transparent' is not supported: leave it out", param="background"
        )
    if body.style:
        raise Refusal(
            400, "'style' is not supported: describe the style in the prompt", param="style"
        )


def _size(size: str | None, settings: ServerSettings) -> tuple[int | None, int | None]:
    if size in (None, "", "auto"):
        return None, None
    found = _SIZE.fullmatch(size or "")
    if found is None:
        raise Refusal(
            400,
            f"size is width and height, as '512x512', or 'auto', not {size!r:.40}",
            param="size",
        )
    width, height = int(found[1]), int(found[2])
    most = min(MOST_PIXELS, settings.max_image_pixels)
    if width * height > most:
        raise Refusal(
            400,
            f"size {size} is more than the {most:,} pixels that this server makes",
            param="size",
        )
    return width, height


async def picture_of(file: UploadFile, name: str, settings: ServerSettings) -> Image:
    """Give an uploaded picture, within the server's limits."""
    data = await file.read()
    if not data:
        raise Refusal(400, f"the {name} is empty: send a picture", param=name)
    return await asyncio.to_thread(lambda: check_image(Image.from_bytes(data), settings))


def mask_of(mask: Image) -> Image:
    """Give a mask that is white where it is to be painted: OpenAI's is transparent there."""
    from PIL import ImageOps

    picture = mask.to_pil()
    if "A" not in picture.getbands():
        return mask
    return Image.from_pil(ImageOps.invert(picture.getchannel("A")))
