"""Reading image headers, and what Pillow needs around it to read and write files safely."""

from __future__ import annotations

import importlib
import io
import struct
from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError
from blazen.extras import need
from blazen.types.source import Source

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MAX_PIXELS = 89_478_485  # where Pillow, too, begins to suspect a decompression bomb
PILLOW_NAMES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
WRITTEN = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "tif": "image/tiff",
}
# What PNG stores as it is, so that JSON gives back the same pixels.
_KEPT_MODES = ("L", "RGB", "RGBA", "I;16")
# Pillow's readers let these through for files that are damaged; the warning, where warnings raise.
PILLOW_FAILURES = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    UserWarning,
)


def pillow(what: str, module: str = "Image") -> Any:
    """Import Pillow, or one of its modules, or say what to install."""
    need("PIL", extra="images", what=what)
    return importlib.import_module(f"PIL.{module}")


def opened(source: Source, media_type: str) -> PILImage:
    """Give the file's picture with its header read, and its pixels not yet."""
    pil = pillow("reading the pixels of an image")
    try:
        # Only the format that was seen: others of Pillow's readers start programs.
        image: PILImage = pil.open(io.BytesIO(source.read()), formats=[PILLOW_NAMES[media_type]])
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        raise ValidationError(f"{source.name} has too many pixels: {error}") from error
    except KeyError as error:
        raise ValidationError(f"Pillow can't read {media_type}, as {source.name} is") from error
    except PILLOW_FAILURES as error:
        raise ValidationError(
            f"{source.name} is damaged, or Pillow can't read such {media_type}: {error}"
        ) from error
    if image.width * image.height > MAX_PIXELS:
        raise too_large(source.name, image.size)
    return image


def sniffed(source: Source) -> str:
    """Give the media type that the first bytes show, which must be an image's."""
    media_type = source.sniff()
    if media_type not in PILLOW_NAMES:
        known = ", ".join(name.removeprefix("image/") for name in PILLOW_NAMES)
        seen = f"it is {media_type}" if media_type else "its first bytes are of no image"
        raise ValidationError(f"{source.name} must be an image ({known}), but {seen}")
    return media_type


def too_large(name: str, size: tuple[int, int]) -> ValidationError:
    """Word the error for a picture that would fill the memory."""
    return ValidationError(
        f"{name} is {size[0]:,}×{size[1]:,}: more than the {MAX_PIXELS:,} pixels allowed"
    )


def to_uint8(np: Any, values: Any, *, what: str) -> Any:
    """Bring floats from 0 to 1 to bytes; bytes stay as they are, anything else is refused."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        raise ValidationError(
            f"{what} are uint8, or floats from 0 to 1, not {values.dtype}: convert them first"
        )
    if not np.isfinite(values).all():
        raise ValidationError(f"the {what} hold NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValidationError(
            f"floating {what} lie between 0 and 1, but these go from {low:g} to {high:g}"
        )
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def upright(image: PILImage) -> PILImage:
    """A copy, turned as its EXIF says, in a mode that PNG keeps."""
    ops = pillow("reading the pixels of an image", "ImageOps")
    turned: PILImage = ops.exif_transpose(image)
    if turned.mode.startswith("I") and turned.mode != "I;16":
        # Where 16-bit files are held in 32 bits, or in the other order of bytes.
        turned = turned.convert("I").convert("I;16")
    elif turned.mode == "F":
        raise ValidationError("an image of floats (mode F) has no agreed scale: convert it first")
    elif turned.mode not in _KEPT_MODES:
        if turned.mode == "La":
            turned = turned.convert("LA")
        clear = turned.mode in ("LA", "PA", "RGBa") or "transparency" in turned.info
        grey = turned.mode == "1"
        turned = turned.convert("RGBA" if clear else "L" if grey else "RGB")
    elif "transparency" in turned.info and turned.mode in ("L", "RGB"):
        turned = turned.convert("RGBA")
    turned.info = {}
    return turned


def on_white(image: PILImage) -> PILImage:
    """JPEG has no transparency: what shows through is white, not the black that would come."""
    if image.mode == "I;16":
        return to_grey(image)
    if image.mode == "RGB":
        return image
    pil = pillow("writing an image")
    clear = image.convert("RGBA")
    ground: PILImage = pil.new("RGBA", clear.size, "white")
    ground.alpha_composite(clear)
    return ground.convert("RGB")


def to_grey(image: PILImage) -> PILImage:
    """The upper 8 of 16 bits; Pillow's own conversion clips instead."""
    np = need("numpy", extra="images", what="turning 16 bits into 8")
    pil = pillow("turning 16 bits into 8")
    grey: PILImage = pil.fromarray((np.array(image) >> 8).astype(np.uint8))
    return grey


def header_size(source: Source, media_type: str) -> tuple[int, int] | None:
    """Read the size without Pillow, where the first bytes hold it and no EXIF can turn it."""
    if media_type == "image/gif":
        head = source.head(10)
        return struct.unpack("<HH", head[6:10]) if len(head) == 10 else None
    if media_type == "image/png":
        head = source.head(64 * 1024)
        if head[12:16] != b"IHDR" or len(head) < 33 or b"eXIf" in head:
            return None
        return struct.unpack(">II", head[16:24])
    if media_type == "image/jpeg":
        return _jpeg_size(source.head(64 * 1024))
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == 0xE1:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return (width, height) if width and height else None
        at += 2 + length
    return None
