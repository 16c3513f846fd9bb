"""Pictures as the API takes and gives them."""

from __future__ import annotations

import base64
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.remote.sdk import Sdk
from blazen.types.image import Image

_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_LARGEST = 50_000_000
_LARGEST_MASK = 4_000_000
_FIXED_SIZES = ("1024x1024", "1536x1024", "1024x1536")
_EDGE = 3840
_STEP = 16
_SLIMMEST = 3

File = tuple[str, bytes, str]


def size_of(model: str, width: int | None, height: int | None) -> str | None:
    """Give the size as the API has it; one that the model does not draw is refused."""
    if width is None and height is None:
        return None
    if width is None or height is None:
        raise ValidationError("an image has both: give width and height, or neither")
    size = f"{width}x{height}"
    name = model.rpartition("/")[2].lower()
    if name.startswith(("gpt-image-1", "chatgpt-image")):
        if size not in _FIXED_SIZES:
            raise UnsupportedError(f"{model} draws {', '.join(_FIXED_SIZES)}, and no {size}")
    elif name.startswith("gpt-image-"):
        slim = max(width, height) > _SLIMMEST * min(width, height)
        if width % _STEP or height % _STEP or slim or max(width, height) > _EDGE:
            raise UnsupportedError(
                f"{model} draws no {size}: both must be multiples of {_STEP} up to {_EDGE}, and "
                f"neither more than {_SLIMMEST} times the other"
            )
    return size


def file_of(image: Image) -> File:
    """Give a picture as a file that the API takes: as it is, or as PNG."""
    media_type = image.media_type
    if media_type in _SUFFIXES:
        file = f"image.{_SUFFIXES[media_type]}", image.to_bytes(), media_type
    else:
        file = "image.png", image.to_bytes("png"), "image/png"
    if len(file[1]) >= _LARGEST:
        raise UnsupportedError(
            f"{image!r} has {len(file[1]):,} bytes, and the API takes less than {_LARGEST:,}: "
            "give image.resized(2048)"
        )
    return file


def mask_of(mask: Image, image: Image) -> File:
    """Give a mask as the API has it: transparent where ours is white, of the image's size."""
    from PIL import Image as pillow  # noqa: N813 - Pillow's module is named as its class
    from PIL import ImageOps

    if mask.size != image.size:
        raise ValidationError(
            f"the mask is {mask.width}×{mask.height} and the image {image.width}×{image.height}: "
            "they must be of one size"
        )
    painted = mask.to_pil().convert("L")
    whole = pillow.new("RGBA", painted.size)
    whole.putalpha(ImageOps.invert(painted))
    data = Image.from_pil(whole).to_bytes("png")
    if len(data) >= _LARGEST_MASK:
        raise UnsupportedError(
            f"the mask has {len(data):,} bytes as PNG, and the API takes less than "
            f"{_LARGEST_MASK:,}: make it of black and white only, or smaller"
        )
    return "mask.png", data, "image/png"


def picture_of(sdk: Sdk[Any], told: Any) -> Image:
    """Give the picture of an answer, or of an event."""
    packed, url = getattr(told, "b64_json", None), getattr(told, "url", None)
    try:
        if isinstance(packed, str) and packed:
            return Image.from_bytes(base64.b64decode(packed, validate=True))
        if isinstance(url, str) and url:
            return Image.of(url) if url.startswith("data:") else Image.from_url(url)
    except ValueError as error:  # a ValidationError is one too
        raise sdk.malformed(f"a picture that can't be read: {error}", error) from error
    raise sdk.malformed("an image without a picture")
