"""Images: a prompt in, pictures out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from blazen.options import DiffusersOptions, OpenAiImageOptions
from blazen.protocols.hosted import Hosted
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.generation import ImageOptions, ImageResponse, ImageStream


class ImageFactory(Factory[P, O, "LocalImageGeneration"]):
    """Builds an image model that runs on this machine."""

    kind = "image"


class HostedImageFactory(Factory[P, O, "HostedImageGeneration"]):
    """Builds an image model that a provider runs."""

    kind = "image"


class ImageGenerationKind(Kind):
    """The factories of `ImageGeneration`."""

    kind = "image"

    openai = HostedImageFactory("openai", OpenAiImageOptions)
    diffusers = ImageFactory("diffusers", DiffusersOptions)
    diffusion = diffusers


@runtime_checkable
class ImageGeneration(Protocol, metaclass=ImageGenerationKind):
    """A model that makes images. A subclass writes `generate_stream` and has the rest."""

    def generate_stream(self, prompt: str, options: ImageOptions | None = None) -> ImageStream:
        """Make images step by step, with previews where the model has them."""
        ...

    async def generate(self, prompt: str, options: ImageOptions | None = None) -> ImageResponse:
        """Make images."""
        return await self.generate_stream(prompt, options).collect()


@runtime_checkable
class HostedImageGeneration(ImageGeneration, Hosted, Protocol):
    """An image model that runs elsewhere."""


@runtime_checkable
class LocalImageGeneration(ImageGeneration, Local, Protocol):
    """An image model on this machine."""
