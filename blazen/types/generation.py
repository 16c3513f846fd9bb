"""Pictures and meshes that a model makes: how, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.types.image import Image
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
    image: Image | None = None
    """Start from this image instead of from noise."""
    mask: Image | None = None
    """Paint only where this is white."""
    strength: float | None = None
    """How far from the starting image to go, from 0 to 1."""

    def __post_init__(self) -> None:
        check_range("width", self.width, at_least=8, integer=True)
        check_range("height", self.height, at_least=8, integer=True)
        check_range("steps", self.steps, at_least=1, integer=True)
        check_range("guidance", self.guidance, at_least=0)
        check_range("seed", self.seed, at_least=0, integer=True)
        check_range("count", self.count, at_least=1, integer=True)
        check_range("strength", self.strength, at_least=0, at_most=1)


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
    """Whether the model's own safety checker withheld it."""
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""


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


class ImageStream(Stream[ImageChunk, ImageResponse]):
    """Images on their way, step by step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._response = ImageResponse(())

    def _add(self, piece: ImageChunk) -> None:
        if piece.images:
            self._response = ImageResponse(piece.images, piece.seeds, piece.flagged)

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
    texture: bool = False
    """Bake colours into a texture instead of the vertices."""

    def __post_init__(self) -> None:
        check_range("resolution", self.resolution, at_least=8, at_most=2048, integer=True)
        check_range("foreground_ratio", self.foreground_ratio, at_least=0.1, at_most=1)
