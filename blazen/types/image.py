"""Pictures: from a file, bytes, a URL, an array or Pillow, to what a model, a file or a page needs."""

from __future__ import annotations

import base64
import html
import io
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from blazen.checks import check_choice, check_range
from blazen.errors import BlazenError, ValidationError
from blazen.extras import need
from blazen.types.source import Source, data_url, embed, write_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

MAX_PIXELS = 89_478_485  # where Pillow, too, begins to suspect a decompression bomb
_PILLOW_NAMES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
_WRITTEN = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "tif": "image/tiff",
}
_SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif")
# What PNG stores as it is, so that JSON gives back the same pixels.
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", "I;16")


class Image:
    """A picture, which never changes.

    Make one with `of`, or with `from_file`, `from_bytes`, `from_url`, `from_data_url`, `from_array`
    or `from_pil`. A file is read when its content is asked for, and a URL fetched likewise.
    """

    __slots__ = ("_media_type", "_pixels", "_source")
    kind: ClassVar[str] = "image"

    def __init__(self, source: Source | None = None, *, pixels: PILImage | None = None) -> None:
        self._source = source
        self._pixels = pixels
        self._media_type: str | None = None if pixels is None else "image/png"
        if source is not None and source.url is None:
            self._media_type = _sniffed(source)

    @classmethod
    def of(cls, value: Any) -> Image:
        """Take a picture in any form: an `Image`, path, URL, data URL, bytes, array, PIL image."""
        if isinstance(value, Image):
            return value
        if isinstance(value, str):
            return cls(Source.from_text(value, what="image"))
        if isinstance(value, os.PathLike):
            return cls.from_file(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return cls.from_bytes(value)
        pillow = sys.modules.get("PIL.Image")
        if pillow is not None and isinstance(value, pillow.Image):
            return cls.from_pil(value)
        if hasattr(value, "__array__"):
            return cls.from_array(value)
        raise ValidationError(
            "an image is given as an Image, a path, a URL, bytes, an array or a PIL image, "
            f"not as {type(value).__name__}"
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Image:
        """Take an image file (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, HEIC)."""
        return cls(Source.from_file(path, what="image"))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Image:
        """Take the bytes of an image file."""
        return cls(Source.from_bytes(data, what="image"))

    @classmethod
    def from_url(cls, url: str) -> Image:
        """Take an http or https URL; it is fetched when the picture is needed here."""
        return cls(Source.from_url(url, what="image"))

    @classmethod
    def from_data_url(cls, text: str) -> Image:
        """Take a ``data:`` URL."""
        return cls(Source.from_data_url(text, what="image"))

    @classmethod
    def from_array(cls, array: Any) -> Image:
        """Take pixels of shape (height, width) or (height, width, 1, 3 or 4), which are copied.

        They are uint8, or floats from 0 to 1.
        """
        np = need("numpy", extra="images", what="making an image from an array")
        pillow = need("PIL.Image", extra="images", what="making an image from an array")
        pixels = np.asarray(array)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
            raise ValidationError(
                f"pixels have shape (height, width, 1, 3 or 4), not {np.shape(array)}"
            )
        if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
            raise _too_large("the array", (pixels.shape[1], pixels.shape[0]))
        pixels = to_uint8(np, pixels, what="pixels")
        if pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        return cls(pixels=pillow.fromarray(np.array(pixels, order="C")))

    @classmethod
    def from_pil(cls, image: PILImage) -> Image:
        """Take a Pillow image, which is copied; palettes and print colours become RGB."""
        pillow = need("PIL.Image", extra="images", what="taking a Pillow image")
        if not isinstance(image, pillow.Image):
            raise ValidationError(f"this is no Pillow image: {type(image).__name__}")
        if not image.width or not image.height:
            raise ValidationError("the Pillow image has no pixels")
        return cls(pixels=_upright(image))

    @property
    def path(self) -> Path | None:
        """The file that it was made from."""
        return self._source.path if self._source else None

    @property
    def url(self) -> str | None:
        """The URL that it was made from, for a provider that fetches by itself."""
        return self._source.url if self._source else None

    @property
    def media_type(self) -> str:
        """The encoding, such as ``image/png``, as the first bytes show it; pixels count as PNG."""
        if self._media_type is None:
            assert self._source is not None
            self._media_type = _sniffed(self._source)
        return self._media_type

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright as the camera's note on orientation says."""
        if self._pixels is not None:
            return self._pixels.size
        assert self._source is not None
        size = _header_size(self._source, self.media_type)
        if size is None:
            with io.BytesIO(self._source.read()) as file:
                image = self._open(file)
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                size = image.size[::-1] if turned else image.size
        return size

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.size[1]

    def to_pil(self) -> PILImage:
        """Give a Pillow image of its own, upright; of an animation, the first frame."""
        if self._pixels is not None:
            return self._pixels.copy()
        assert self._source is not None
        with io.BytesIO(self._source.read()) as file:
            image = self._open(file)
            try:
                return _upright(image)
            except _PILLOW_FAILURES as error:
                raise ValidationError(f"{self._source.name} is damaged: {error}") from error

    def to_array(self) -> NDArray[np.uint8]:
        """Give pixels as uint8 of shape (height, width, channels): 1 grey, 3 RGB, 4 RGBA."""
        np = need("numpy", extra="images", what="turning an image into an array")
        image = self.to_pil()
        if image.mode == "LA":
            image = image.convert("RGBA")
        pixels = np.array(image)
        if image.mode == "I;16":
            pixels = (pixels >> 8).astype(np.uint8)
        result: NDArray[np.uint8] = pixels if pixels.ndim == 3 else pixels[:, :, None]
        return result

    def resized(self, max_side: int) -> Image:
        """Give the picture shrunk so that no side is longer; a smaller one stays as it is."""
        check_range("max_side", max_side, at_least=1, integer=True)
        longest = max(self.size)
        if longest <= max_side:
            return self
        lanczos = need("PIL.Image", extra="images", what="resizing an image").Resampling.LANCZOS
        width, height = (max(1, round(side * max_side / longest)) for side in self.size)
        image = self.to_pil()
        if image.mode == "I;16":
            image = image.convert("I")
        small = Image.from_pil(image.resize((width, height), lanczos))
        if self.media_type == "image/jpeg":
            small._media_type = "image/jpeg"
        return small

    def to_bytes(self, format: str | None = None, *, quality: int = 90) -> bytes:  # noqa: A002 - as Pillow names it
        """Give an encoded file: png, jpeg, webp, gif, bmp or tiff.

        Without a format, or with the one that it has, these are the original bytes.
        """
        if format is not None:
            check_choice("the format of an image", format, _WRITTEN)
        check_range("quality", quality, at_least=1, at_most=100, integer=True)
        wanted = self.media_type if format is None else _WRITTEN[format]
        if self._source is not None and wanted == self.media_type:
            return self._source.read()
        image = self.to_pil()
        if wanted == "image/jpeg" and image.mode != "L":
            image = _on_white(image)
        elif image.mode == "I;16" and wanted not in ("image/png", "image/tiff"):
            image = Image.from_array(self.to_array()).to_pil()
        out = io.BytesIO()
        name = _PILLOW_NAMES[wanted]
        try:
            if name in ("JPEG", "WEBP"):
                image.save(out, name, quality=quality)
            else:
                image.save(out, name)
        except _PILLOW_FAILURES as error:
            raise ValidationError(f"this image does not go into {name}: {error}") from error
        return out.getvalue()

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:  # noqa: A002 - as Pillow names it
        """Write a file, in the format of its suffix (.png, .jpg, .webp, .gif, .bmp, .tiff)."""
        chosen = format or Path(path).suffix.lstrip(".").lower()
        check_choice("the format of an image file", chosen, _WRITTEN)
        data = self.to_bytes(chosen)
        return write_file(path, lambda file: file.write(data))

    def to_data_url(self) -> str:
        """Give a ``data:`` URL, of the original bytes where there are some."""
        return data_url(self.to_bytes(), self.media_type)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form: a URL as it is, everything else with its bytes."""
        if self.url is not None:
            return {"kind": self.kind, "url": self.url}
        return embed(self.kind, self.to_bytes(), self.media_type)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Image:
        """Build one from what `to_dict` gave."""
        return cls(Source.from_dict(data, what="image"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        if self is other:
            return True
        if self._source is not None and other._source is not None:
            return self._source.same_bytes(other._source)
        if self.url or other.url:
            return False
        try:
            mine, theirs = self.to_pil(), other.to_pil()
        except ValidationError:
            return False
        same = (mine.mode, mine.size) == (theirs.mode, theirs.size)
        return same and mine.tobytes() == theirs.tobytes()

    __hash__ = None  # type: ignore[assignment]  # equal by content, which would have to be read

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is not None:
            return Image, (self._source,)
        return Image.from_bytes, (self.to_bytes("png"),)

    def __repr__(self) -> str:
        if self._source is None:
            assert self._pixels is not None
            return f"Image({self.width}×{self.height} {self._pixels.mode})"
        if self.url is not None:
            return f"Image({self._source.name})"
        name = self.media_type.removeprefix("image/")
        try:
            return f"Image({self.width}×{self.height} {name})"
        except (BlazenError, OSError):
            return f"Image({name}, {self._source.name})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle = {"text/plain": repr(self)}
        if self.url is not None:
            bundle["text/html"] = f'<img src="{html.escape(self.url)}">'
            return bundle
        media_type = self.media_type
        if media_type in _SHOWN:
            data = self.to_bytes()
        else:
            media_type, data = "image/png", self.to_bytes("png")
        bundle[media_type] = base64.b64encode(data).decode("ascii")
        return bundle

    def _open(self, file: io.BytesIO) -> PILImage:
        assert self._source is not None
        pillow = need("PIL.Image", extra="images", what="reading the pixels of an image")
        name = self._source.name
        # Only the format that was seen: others of Pillow's readers start programs.
        wanted = _PILLOW_NAMES[self.media_type]
        try:
            image: PILImage = pillow.open(file, formats=[wanted])
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
            raise ValidationError(f"{name} has too many pixels: {error}") from error
        except KeyError as error:
            raise ValidationError(f"Pillow can't read {self.media_type}, as {name} is") from error
        except _PILLOW_FAILURES as error:
            raise ValidationError(
                f"{name} is damaged, or Pillow can't read such a {self.media_type}: {error}"
            ) from error
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(name, image.size)
        return image


# Pillow's readers let these through for files that are damaged.
_PILLOW_FAILURES = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
)


def _sniffed(source: Source) -> str:
    media_type = source.sniff()
    if media_type not in _PILLOW_NAMES:
        known = ", ".join(name.removeprefix("image/") for name in _PILLOW_NAMES)
        seen = f"it is {media_type}" if media_type else "its first bytes are of no image"
        raise ValidationError(f"{source.name} must be an image ({known}), but {seen}")
    return media_type


def _too_large(name: str, size: tuple[int, int]) -> ValidationError:
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


def _upright(image: PILImage) -> PILImage:
    """A copy, turned as its EXIF says, in a mode that PNG keeps."""
    ops = need("PIL.ImageOps", extra="images", what="reading the pixels of an image")
    turned: PILImage = ops.exif_transpose(image)
    if turned.mode.startswith("I"):
        # 32-bit integers come from 16-bit files; "I;16" is how Pillow holds those.
        turned = turned.convert("I").point(lambda value: value, "I").convert("I;16")
    elif turned.mode == "F":
        raise ValidationError("an image of floats (mode F) has no agreed scale: convert it first")
    elif turned.mode not in _KEPT_MODES:
        clear = turned.mode in ("RGBa", "La", "PA") or "transparency" in turned.info
        grey = turned.mode == "1"
        turned = turned.convert("RGBA" if clear else "L" if grey else "RGB")
    elif "transparency" in turned.info and turned.mode in ("L", "RGB"):
        turned = turned.convert("RGBA")
    turned.info = {}
    return turned


def _on_white(image: PILImage) -> PILImage:
    """JPEG has no transparency: what shows through is white, not the black that would come."""
    if image.mode == "I;16":
        return Image.from_array(Image.from_pil(image).to_array()).to_pil()
    if image.mode == "RGB":
        return image
    pillow = need("PIL.Image", extra="images", what="writing an image")
    clear = image.convert("RGBA")
    ground: PILImage = pillow.new("RGBA", clear.size, "white")
    ground.alpha_composite(clear)
    return ground.convert("RGB")


def _header_size(source: Source, media_type: str) -> tuple[int, int] | None:
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
