"""Images: a prompt in, pictures out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from blazen.registry import Kind
from blazen.types.generation import ImageOptions, ImageResponse, ImageStream


class ImageGenerationKind(Kind):
    """The factories of `ImageGeneration`."""

    kind = "image"


@runtime_checkable
class ImageGeneration(Protocol, metaclass=ImageGenerationKind):
    """A model that makes images. A subclass writes `generate_stream` and has the rest."""

    def generate_stream(self, prompt: str, options: ImageOptions | None = None) -> ImageStream:
        """Make images step by step, with previews where the model has them."""
        ...

    async def generate(self, prompt: str, options: ImageOptions | None = None) -> ImageResponse:
        """Make images."""
        return await self.generate_stream(prompt, options).collect()
