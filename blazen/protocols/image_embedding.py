"""Image embeddings: pictures in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from blazen.errors import ValidationError
from blazen.options.retrieval import ImageEmbedOptions
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.embedding import EmbeddingResponse
from blazen.types.image import Image


class ImageEmbeddingModelFactory(Factory[P, O, "LocalImageEmbeddingModel"]):
    """Builds an image embedding model that runs on this machine."""

    kind = "image_embedding"


class ImageEmbeddingModelKind(Kind):
    """The factories of `ImageEmbeddingModel`."""

    kind = "image_embedding"

    fastembed = ImageEmbeddingModelFactory("fastembed", ImageEmbedOptions)
    local = fastembed


@runtime_checkable
class ImageEmbeddingModel(Protocol, metaclass=ImageEmbeddingModelKind):
    """A model that turns pictures into vectors."""

    async def embed_images(self, images: Any | Sequence[Any]) -> EmbeddingResponse:
        """Give a vector for each picture, in order.

        A picture is an `Image`, or anything that `Image.of` takes: a path, URL, bytes, array.
        """
        ...


@runtime_checkable
class LocalImageEmbeddingModel(ImageEmbeddingModel, Local, Protocol):
    """An image embedding model on this machine."""


def as_images(images: Any | Sequence[Any]) -> list[Image]:
    """Give a checked list of pictures; a single one becomes a list of one."""
    if not isinstance(images, (list, tuple)):
        return [Image.of(images)]
    if not images:
        raise ValidationError("there is nothing to embed: the list of images is empty")
    return [_image(index, image) for index, image in enumerate(images)]


def _image(index: int, image: Any) -> Image:
    try:
        return Image.of(image)
    except ValidationError as error:
        raise ValidationError(f"images[{index}]: {error}") from error
