"""What holds for an image embedding model."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest

from blazen.protocols.image_embedding import ImageEmbeddingModel
from blazen.testing.embedding import cosine, same_vectors
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.types.embedding import EmbeddingResponse
from blazen.types.image import Image

BAD_IMAGES: dict[str, Any] = {
    "an empty list": [],
    "a number": 42,
    "nothing": None,
    "no bytes": b"",
    "bytes that are no image": b"hello",
    "a path to nothing": "no/such/picture.png",
    "a list of numbers": [42],
}


class ImageEmbeddingSuite(LocalSuite):
    """What an image embedding model must do, whatever its engine."""

    protocol = ImageEmbeddingModel
    long_count = 48
    """How many pictures make a request that can be cancelled in its middle."""
    tolerance = 1e-4
    """How far a cosine may be from 1 where two vectors are to be the same."""

    def questions(self, count: int) -> list[Any]:
        """Give lists of different pictures."""
        return [[picture(3 * number + part) for part in range(3)] for number in range(count)]

    def long_question(self) -> Any:
        """Give many pictures."""
        return [picture(number % 16) for number in range(self.long_count)]

    async def ask(self, model: Any, question: Any) -> EmbeddingResponse:
        """Embed pictures."""
        answer: EmbeddingResponse = await model.embed_images(question)
        return answer

    def same(self, answer: EmbeddingResponse, expected: EmbeddingResponse) -> bool:
        """Compare vector by vector."""
        return same_vectors(answer, expected, self.tolerance)

    @on_loop
    async def test_order_and_company_do_not_matter(self, model: Any) -> None:
        """A picture has the same vector wherever it stands, and pictures have different ones."""
        pictures = [picture(number, 8 + 5 * number, 24) for number in range(6)]
        forth = (await model.embed_images(pictures)).embeddings
        back = (await model.embed_images(pictures[::-1])).embeddings
        assert len(forth) == len(pictures)
        for place, one in enumerate(pictures):
            alone = (await model.embed_images(one)).embeddings[0]
            for other in (back[len(pictures) - 1 - place], alone):
                assert cosine(forth[place], other) >= 1 - self.tolerance, (
                    f"picture {place} has two vectors"
                )
        assert len({bytes(vector) for vector in forth}) == len(pictures), (
            "different pictures have one vector"
        )

    @on_loop
    async def test_a_picture_comes_in_any_form(self, model: Any) -> None:
        """Bytes, an `Image` and a list of one are the same."""
        data = picture(1)
        expected = await model.embed_images(data)
        assert len(expected.embeddings) == 1
        for form in (Image.from_bytes(data), [data], (Image.of(data),)):
            self.check_same(await model.embed_images(form), expected)

    @pytest.mark.parametrize("what", BAD_IMAGES)
    @on_loop
    async def test_bad_images_are_refused(self, model: Any, what: str) -> None:
        """What can't be pictures is a `ValidationError`."""
        await self.check_refused(lambda: model.embed_images(BAD_IMAGES[what]))

    @on_loop
    async def test_a_damaged_picture_does_no_harm(self, model: Any) -> None:
        """It is refused, and the next request is answered."""
        await self.check_refused(lambda: model.embed_images([picture(1), picture(2)[:60]]))
        await self.check_answers_or_blazen_error(model, picture(3, 1, 1))


def picture(number: int, width: int = 20, height: int = 14) -> bytes:
    """Make a small PNG of stripes, another one for each number, without Pillow."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(
                ((x * (number + 3) * 9) % 256, (y * (number + 2) * 17) % 256, number * 5 % 256)
            )
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")):
        out.write(struct.pack(">I", len(data)) + kind + data)
        out.write(struct.pack(">I", zlib.crc32(kind + data)))
    return out.getvalue()
