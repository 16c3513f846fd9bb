"""Echo backends for what is seen: images and meshes that depend on what they are made of."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from blazen.bridge import StreamJob
from blazen.protocols.image import ImageGeneration
from blazen.protocols.three_d import ThreeD
from blazen.testing.echo_engine import EchoBackend, EchoEngine
from blazen.types.generation import (
    ImageChunk,
    ImageOptions,
    ImageStream,
    MeshChunk,
    MeshOptions,
    MeshStream,
    as_prompt,
)
from blazen.types.image import Image
from blazen.types.mesh import Mesh


class EchoImage(EchoBackend, ImageGeneration):
    """Images of one colour, which the prompt and the seed decide."""

    def generate_stream(self, prompt: str, options: ImageOptions | None = None) -> ImageStream:
        """Paint, a preview a step."""
        asked, chosen = as_prompt(prompt), ImageOptions.of(options)
        return ImageStream(lambda: self._source(_paint, asked, chosen))


class EchoMesh(EchoBackend, ThreeD):
    """A box, whose size and colour the image decides."""

    def image_to_mesh_stream(self, image: Any, options: MeshOptions | None = None) -> MeshStream:
        """Make the box of an image, a face a step."""
        picture, chosen = Image.of(image), MeshOptions.of(options)
        return MeshStream(lambda: self._source(_box, picture, chosen))


def _paint(
    engine: EchoEngine, job: StreamJob[ImageChunk], prompt: str, options: ImageOptions
) -> None:
    steps = options.steps or 4
    width, height = options.width or 16, options.height or 16
    seeds = tuple((options.seed or 0) + number for number in range(options.count))
    images = tuple(_picture(prompt, seed, width, height) for seed in seeds)

    def chunks() -> Iterator[ImageChunk]:
        for step in range(1, steps):
            yield ImageChunk(step, steps, preview=images[0])
        yield ImageChunk(steps, steps, None, images, seeds, (False,) * len(images))

    for chunk in engine.work(job, chunks()):
        job.emit(chunk)


def _picture(prompt: str, seed: int, width: int, height: int) -> Image:
    color = hashlib.sha256(f"{seed} {prompt}".encode("utf-8", "replace")).digest()[:3]
    # Written by hand, so that the echo needs no imaging library.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + color * width) * height)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return Image.from_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks))


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _box(engine: EchoEngine, job: StreamJob[MeshChunk], image: Image, options: MeshOptions) -> None:
    width, height = image.size
    color = hashlib.sha256(image.to_bytes()).digest()[:3]
    corners = [(x * width, y * height, z * 1.0) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
    faces += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
    for number, _ in enumerate(engine.work(job, faces)):
        job.emit(MeshChunk("surface", number + 1, len(faces)))
    if job.cancelled:
        return
    scale = 1.0 / max(width, height)
    vertices = [(x * scale, y * scale, z) for x, y, z in corners]
    mesh = Mesh(vertices, faces, vertex_colors=_colors(color, len(vertices)))
    job.emit(MeshChunk("mesh", 1, 1, mesh))


def _colors(color: bytes, count: int) -> Any:
    import numpy

    return numpy.tile(numpy.frombuffer(color, "uint8"), (count, 1))
