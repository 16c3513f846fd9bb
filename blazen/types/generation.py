"""Pictures and meshes that a model makes: how, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blazen.checks import check_range
from blazen.errors import InferenceError, ValidationError
from blazen.types.image import Image
from blazen.types.mesh import Mesh
from blazen.types.record import Record, Settings
from blazen.types.route import Route
from blazen.types.stream import Stream


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Settings):
    """How to make images. What is left out is the model's own default."""

    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    count: int = 1
    image: Any = None
    """Start from this image instead of from noise; in any form that `Image.of` takes."""
    mask: Any = None
    """Paint only where this is white; in any form as well."""
    strength: float | None = None
    """How far from the starting image to go, from 0 to 1."""
    scheduler: str | None = None
    """How the noise is taken away, by a name that the backend knows."""

    def __post_init__(self) -> None:
        check_range("width", self.width, at_least=8, integer=True)
        check_range("height", self.height, at_least=8, integer=True)
        check_range("steps", self.steps, at_least=1, integer=True)
        check_range("guidance", self.guidance, at_least=0)
        check_range("seed", self.seed, at_least=0, integer=True)
        check_range("count", self.count, at_least=1, integer=True)
        check_range("strength", self.strength, at_least=0, at_most=1)
        for name in ("image", "mask"):
            object.__setattr__(self, name, _picture(name, getattr(self, name)))
        if self.mask is not None and self.image is None:
            raise ValidationError("a mask says where to paint in an image: give image= too")
        if self.scheduler is not None and not isinstance(self.scheduler, str):
            raise ValidationError(f"scheduler must be a name, not {self.scheduler!r:.80}")


def _picture(name: str, value: Any) -> Image | None:
    if value is None:
        return None
    try:
        return Image.from_dict(value) if isinstance(value, Mapping) else Image.of(value)
    except ValidationError as error:
        raise ValidationError(f"{name}: {error}") from error


def as_prompt(prompt: str) -> str:
    """Give a checked prompt."""
    if not isinstance(prompt, str):
        raise ValidationError(f"a prompt is a text, not {prompt!r:.80}")
    if not prompt.strip():
        raise ValidationError("the prompt is empty: say what the image shows")
    return prompt


@dataclass(frozen=True)
class ImageResponse(Record):
    """The images that were made."""

    images: tuple[Image, ...]
    seeds: tuple[int, ...] = ()
    """The seed of each image: with it the same image can be made again."""
    flagged: tuple[bool, ...] = ()
    """Whether the model's own safety checker withheld it; empty where the model has none."""
    warnings: tuple[str, ...] = ()
    """What may not be as you expect: a prompt that was cut, an image that is all black."""
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        shown = "".join(_tag(image) for image in self.images)
        return {"text/plain": repr(self)} | ({"text/html": shown} if shown else {})


def _tag(image: Image) -> str:
    """Give HTML that shows a picture."""
    bundle = image._repr_mimebundle_()
    if "text/html" in bundle:
        return bundle["text/html"]
    media_type = next(name for name in bundle if name.startswith("image/"))
    return f'<img src="data:{media_type};base64,{bundle[media_type]}">'


@dataclass(frozen=True)
class ImageChunk(Record):
    """One step on the way to an image."""

    step: int
    steps: int
    preview: Image | None = None
    images: tuple[Image, ...] = ()
    """The finished images, on the last one."""
    seeds: tuple[int, ...] = ()
    flagged: tuple[bool, ...] = ()
    warnings: tuple[str, ...] = ()


class ImageStream(Stream[ImageChunk, ImageResponse]):
    """Images on their way, step by step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._response = ImageResponse(())

    def _add(self, piece: ImageChunk) -> None:
        if piece.images:
            self._response = ImageResponse(piece.images, piece.seeds, piece.flagged, piece.warnings)

    @property
    def response(self) -> ImageResponse:
        """The images, once they are finished."""
        return self._response


@dataclass(frozen=True, kw_only=True)
class MeshOptions(Settings):
    """How to make a mesh of an image."""

    resolution: int | None = None
    """Cells along each side of the volume that the surface is cut from."""
    remove_background: bool = False
    foreground_ratio: float | None = None
    """How much of the image the object should fill."""
    threshold: float | None = None
    """How dense the volume is at the surface."""
    texture: bool = False
    """Bake colours into a texture instead of the vertices."""
    texture_size: int | None = None
    """Pixels along each side of the texture; by default as many as the mesh needs."""
    chunk_size: int | None = None
    """How many points of the volume are calculated at once: fewer take less memory."""

    def __post_init__(self) -> None:
        check_range("resolution", self.resolution, at_least=8, at_most=2048, integer=True)
        check_range("foreground_ratio", self.foreground_ratio, at_least=0.1, at_most=1)
        check_range("threshold", self.threshold)
        check_range("texture_size", self.texture_size, at_least=16, at_most=8192, integer=True)
        if self.texture_size is not None and not self.texture:
            raise ValidationError("texture_size is about a texture: say texture=True too")
        check_range("chunk_size", self.chunk_size, at_least=1, integer=True)


@dataclass(frozen=True)
class MeshChunk(Record):
    """One step on the way to a mesh."""

    stage: str
    """What is being done, in one word: ``encode``, ``query``, ``surface``, …"""
    done: int
    total: int | None = None
    """How many steps the stage has, where that is known."""
    mesh: Mesh | None = None
    """The finished mesh, on the last one."""


class MeshStream(Stream[MeshChunk, Mesh]):
    """A mesh on its way, step by step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._mesh: Mesh | None = None

    def _add(self, piece: MeshChunk) -> None:
        if piece.mesh is not None:
            self._mesh = piece.mesh

    @property
    def response(self) -> Mesh:
        """The mesh, once it is finished."""
        if self._mesh is None:
            raise InferenceError("there is no mesh yet: the last step has not come")
        return self._mesh

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._mesh or 'no mesh yet'}>"
