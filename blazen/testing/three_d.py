"""What holds for a model that makes meshes of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blazen.errors import InferenceError
from blazen.protocols.three_d import ThreeD
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.testing.streaming import StreamSuite
from blazen.types.generation import MeshChunk
from blazen.types.image import Image
from blazen.types.mesh import Mesh

BAD_IMAGES: dict[str, Any] = {
    "nothing": None,
    "a number": 42,
    "no bytes": b"",
    "a list": [1, 2, 3],
    "a missing file": Path("there-is-no-such-file.png"),
    "a directory": Path(),
    "bytes that are no image": b"These bytes are no image. " * 50,
}
BAD_OPTIONS: dict[str, Any] = {
    "an unknown option": {"resolutoin": 32},
    "no options at all": 42,
    "no resolution": {"resolution": 0},
    "a negative resolution": {"resolution": -32},
    "a resolution that is text": {"resolution": "fine"},
    "a ratio above 1": {"foreground_ratio": 2},
    "a threshold that is text": {"threshold": "dense"},
    "no points at once": {"chunk_size": 0},
    "a texture of a few pixels": {"texture_size": 2},
}


class ThreeDSuite(StreamSuite, LocalSuite):
    """What a 3D model must do, whatever its engine."""

    protocol = ThreeD
    resolution = 32
    long_resolution = 64
    """The resolution of a mesh whose making is cancelled."""

    def picture(self, number: int) -> Image:
        """Give a picture of something: here, a bright square on black, of different colours."""
        import numpy

        pixels = numpy.zeros((64, 64, 3), "uint8")
        pixels[16:48, 16:48] = (255, number * 37 % 256, number * 91 % 256)
        return Image.from_array(pixels)

    def questions(self, count: int) -> list[Any]:
        """Give different pictures, with options."""
        options = {"resolution": self.resolution}
        return [(self.picture(number), options) for number in range(1, count + 1)]

    def long_question(self) -> Any:
        """Give a picture, with a finer resolution."""
        return self.picture(0), {"resolution": self.long_resolution}

    async def ask(self, model: Any, question: Any) -> Mesh:
        """Make a mesh."""
        answer: Mesh = await model.image_to_mesh(*question)
        return answer

    def stream(self, model: Any, question: Any) -> Any:
        """Make a mesh step by step."""
        return model.image_to_mesh_stream(*question)

    def joined(self, pieces: list[MeshChunk]) -> Mesh | None:
        """Take the mesh, which the last step brings."""
        return pieces[-1].mesh

    def content(self, answer: Mesh) -> Mesh:
        """Give the mesh itself."""
        return answer

    def same_content(self, joined: Any, content: Any) -> bool:
        """Compare meshes."""
        return joined is not None and self.same(joined, content)

    def check_pieces(self, pieces: list[MeshChunk], answer: Mesh) -> None:
        """Only the last step brings a mesh, and within a stage the steps only go forward."""
        assert [piece.mesh is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        furthest: dict[str, int] = {}
        for piece in pieces:
            assert piece.done >= furthest.get(piece.stage, 0), f"progress went back: {pieces}"
            assert piece.total is None or piece.done <= piece.total, f"beyond its end: {piece}"
            furthest[piece.stage] = piece.done

    async def leave(self, stream: Any, way: str, pieces: Any = None) -> Any:
        """Leave a stream after its first step; there is no part of a mesh that it could keep."""
        try:
            return await super().leave(stream, way, pieces)
        except InferenceError as error:
            if "no mesh yet" not in str(error):
                raise
            return None

    @on_loop
    async def test_a_mesh_can_be_seen(self, model: Any, tmp_path: Path) -> None:
        """It has a size in every direction, faces that are none too thin, and can be saved."""
        picture, options = self.questions(1)[0]
        mesh = await model.image_to_mesh(picture, options)
        low, high = mesh.bounds
        assert all(a < b for a, b in zip(low, high, strict=True)), f"it is flat: {mesh.bounds}"
        corners = mesh.faces
        assert (corners[:, 0] != corners[:, 1]).all(), "some faces have two corners in one"
        for name in ("mesh.glb", "mesh.obj", "mesh.ply"):
            again = Mesh.from_file(mesh.save(tmp_path / name))
            assert len(again.faces) == len(mesh.faces)

    @on_loop
    async def test_images_are_taken_in_every_form(self, model: Any, tmp_path: Path) -> None:
        """A file, its bytes, pixels and an `Image` give the same mesh."""
        picture, options = self.questions(1)[0]
        path = picture.save(tmp_path / "picture.png")
        expected = await model.image_to_mesh(Image.from_file(path), options)
        for form in (path, str(path), path.read_bytes()):
            self.check_same(await model.image_to_mesh(form, options), expected)

    @pytest.mark.parametrize("what", BAD_IMAGES)
    @on_loop
    async def test_bad_images_are_refused(self, model: Any, what: str) -> None:
        """What is no image is a `ValidationError`."""
        await self.check_refused(lambda: model.image_to_mesh(BAD_IMAGES[what]))

    @pytest.mark.parametrize("what", BAD_OPTIONS)
    @on_loop
    async def test_bad_options_are_refused(self, model: Any, what: str) -> None:
        """What can't be options is a `ValidationError`."""
        picture = self.picture(1)
        await self.check_refused(lambda: model.image_to_mesh(picture, BAD_OPTIONS[what]))
