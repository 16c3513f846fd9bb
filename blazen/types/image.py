"""Pictures: from a file, bytes, a URL, an array or Pillow, to what a model or a page needs."""

from __future__ import annotations

import base64
import html
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from blazen.checks import check_choice, check_range
from blazen.errors import BlazenError, ValidationError
from blazen.extras import need
from blazen.types import image_codec as codec
from blazen.types.source import Source, data_url, embed, write_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

    Pixels = NDArray[np.uint8]

_SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif")

_VIEWED = 1024
"""The longest side of a picture in a notebook: a larger one would make its file huge."""


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
            self._media_type = codec.sniffed(source)

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
        pillow = codec.pillow("making an image from an array")
        pixels = np.asarray(array)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
            raise ValidationError(
                f"pixels have shape (height, width, 1, 3 or 4), not {np.shape(array)}"
            )
        if pixels.shape[0] * pixels.shape[1] > codec.MAX_PIXELS:
            raise codec.too_large("the array", (pixels.shape[1], pixels.shape[0]))
        pixels = codec.to_uint8(np, pixels, what="pixels")
        if pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        return cls(pixels=pillow.fromarray(np.array(pixels, order="C")))

    @classmethod
    def from_pil(cls, image: PILImage) -> Image:
        """Take a Pillow image, which is copied; palettes and print colours become RGB."""
        pillow = codec.pillow("taking a Pillow image")
        if not isinstance(image, pillow.Image):
            raise ValidationError(f"this is no Pillow image: {type(image).__name__}")
        if not image.width or not image.height:
            raise ValidationError("the Pillow image has no pixels")
        return cls(pixels=codec.upright(image))

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
            self._media_type = codec.sniffed(self._source)
        return self._media_type

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright as the camera's note on orientation says."""
        if self._pixels is not None:
            return self._pixels.size
        assert self._source is not None
        size = codec.header_size(self._source, self.media_type)
        if size is None:
            image = codec.opened(self._source, self.media_type)
            try:
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            except codec.PILLOW_FAILURES as error:
                raise ValidationError(f"{self._source.name} is damaged: {error}") from error
            size = (image.height, image.width) if turned else image.size
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
        image = codec.opened(self._source, self.media_type)
        try:
            return codec.upright(image)
        except codec.PILLOW_FAILURES as error:
            raise ValidationError(f"{self._source.name} can't be read: {error}") from error

    def to_array(self) -> Pixels:
        """Give pixels as uint8 of shape (height, width, channels): 1 grey, 3 RGB, 4 RGBA."""
        np = need("numpy", extra="images", what="turning an image into an array")
        image = self.to_pil()
        if image.mode == "I;16":
            image = codec.to_grey(image)
        pixels = np.array(image)
        result: Pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
        return result

    def resized(self, max_side: int) -> Image:
        """Give the picture shrunk so that no side is longer; a smaller one stays as it is."""
        check_range("max_side", max_side, at_least=1, integer=True)
        longest = max(self.size)
        if longest <= max_side:
            return self
        lanczos = codec.pillow("resizing an image").Resampling.LANCZOS
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
            check_choice("the format of an image", format, codec.WRITTEN)
        check_range("quality", quality, at_least=1, at_most=100, integer=True)
        wanted = self.media_type if format is None else codec.WRITTEN[format]
        if self._source is not None and wanted == self.media_type:
            return self._source.read()
        image = self.to_pil()
        if wanted == "image/jpeg" and image.mode != "L":
            image = codec.on_white(image)
        elif image.mode == "I;16" and wanted not in ("image/png", "image/tiff"):
            image = codec.to_grey(image)
        out = io.BytesIO()
        name = codec.PILLOW_NAMES[wanted]
        try:
            if name in ("JPEG", "WEBP"):
                image.save(out, name, quality=quality)
            else:
                image.save(out, name)
        except codec.PILLOW_FAILURES as error:
            raise ValidationError(f"this image does not go into {name}: {error}") from error
        return out.getvalue()

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:  # noqa: A002 - as Pillow names it
        """Write a file, in the format of its suffix (.png, .jpg, .webp, .gif, .bmp, .tiff)."""
        chosen = format or Path(path).suffix.lstrip(".").lower()
        check_choice("the format of an image file", chosen, codec.WRITTEN)
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
        assert self._pixels is not None
        # Bare pixels: to pack them takes far longer than to copy them.
        return _from_pixels, (self._pixels.mode, self._pixels.size, self._pixels.tobytes())

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

    def _for_view(self) -> Image:
        try:
            return self.resized(_VIEWED)
        except BlazenError:  # without Pillow, or damaged: a browser may show it all the same
            return self

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle = {"text/plain": repr(self)}
        if self.url is not None:
            bundle["text/html"] = f'<img src="{html.escape(self.url)}">'
            return bundle
        picture = self._for_view()
        media_type = picture.media_type
        if media_type in _SHOWN:
            data = picture.to_bytes()
        else:
            media_type, data = "image/png", picture.to_bytes("png")
        bundle[media_type] = base64.b64encode(data).decode("ascii")
        return bundle


def _from_pixels(mode: str, size: tuple[int, int], data: bytes) -> Image:
    pillow = codec.pillow("an image of another process")
    return Image(pixels=pillow.frombytes(mode, size, data))
