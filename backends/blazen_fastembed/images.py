"""`ImageEmbeddingModel` on fastembed: CLIP's half for pictures, and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.errors import InferenceError, ValidationError
from blazen.options.retrieval import ImageEmbedOptions
from blazen.protocols.image_embedding import ImageEmbeddingModel, as_images
from blazen.types.embedding import EmbeddingResponse, Vectors
from blazen.types.image import Image
from blazen.types.image_codec import to_grey
from blazen_fastembed.folders import read_json
from blazen_fastembed.offered import Found
from blazen_fastembed.opening import OfferedBackend
from blazen_fastembed.size import PASS, Shape

_USUAL = "Qdrant/clip-ViT-B-32-vision"
_THINNEST = 500
"""How often the short side may fit the long one: all of a picture is made larger with it."""


@dataclass
class Engine:
    """A loaded model, and how many pictures it reads together."""

    model: Any
    at_once: int


class FastEmbedImages(OfferedBackend[Engine], ImageEmbeddingModel):
    """Image embeddings: a model that fastembed knows, or a folder built like one."""

    Options = ImageEmbedOptions
    options: ImageEmbedOptions
    needed = ("preprocessor_config.json",)

    async def embed_images(self, images: Any | Sequence[Any]) -> EmbeddingResponse:
        """Give a vector of length 1 for each picture, in order."""
        return await self._call(_embed, as_images(images), self._title())

    def _offer(self) -> Any:
        from fastembed import ImageEmbedding

        return ImageEmbedding

    def _like(self, folder: Path) -> str:
        return _USUAL

    def _prepared(self, model: Any, found: Found) -> Engine:
        one = self._picture_bytes(found)
        return Engine(model, _at_once(one, self.options.max_batch_size))

    def _work(self, found: Found) -> int:
        one = self._picture_bytes(found)
        return one * _at_once(one, self.options.max_batch_size)

    def _picture_bytes(self, found: Found) -> int:
        """Guess from the sizes of a vision transformer; other networks take less."""
        config = read_json(found.folder / "config.json")
        vision = config.get("vision_config", config)
        sizes = vision if isinstance(vision, dict) else {}

        def number(name: str, usual: int) -> int:
            value = sizes.get(name)
            return value if isinstance(value, int) and value > 0 else usual

        patches = (number("image_size", 224) // number("patch_size", 16)) ** 2 + 1
        heads = number("num_attention_heads", 12)
        return Shape(heads, number("intermediate_size", 3072), patches).text_bytes(patches)


def _embed(engine: Engine, job: Job, images: list[Image], title: str) -> EmbeddingResponse:
    import numpy

    rows: list[Any] = []
    for start in range(0, len(images), engine.at_once):
        if job.cancelled:
            raise InferenceError("the request was stopped")
        batch = [
            _picture(index, image)
            for index, image in enumerate(images[start : start + engine.at_once], start)
        ]
        rows.extend(engine.model.embed(batch, batch_size=len(batch)))
    matrix = numpy.asarray(rows, dtype="float32")
    if not numpy.isfinite(matrix).all():
        raise InferenceError("the model gave numbers that are not finite: its weights are broken")
    return EmbeddingResponse(Vectors.of(matrix), model=title)


def _at_once(picture_bytes: int, most: int) -> int:
    return max(1, min(most, PASS // picture_bytes))


def _picture(index: int, image: Image) -> Any:
    picture = image.to_pil()
    short, long = sorted(picture.size)
    if long > short * _THINNEST:
        raise ValidationError(
            f"images[{index}] has {picture.width} × {picture.height} pixels: one side may be at "
            f"most {_THINNEST} times the other; crop it"
        )
    return to_grey(picture) if picture.mode == "I;16" else picture
