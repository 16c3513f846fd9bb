"""3D: an image in, a mesh out."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from blazen.registry import Kind
from blazen.types.generation import MeshOptions
from blazen.types.mesh import Mesh


class ThreeDKind(Kind):
    """The factories of `ThreeD`."""

    kind = "three_d"


@runtime_checkable
class ThreeD(Protocol, metaclass=ThreeDKind):
    """A model that makes a mesh of what an image shows."""

    async def image_to_mesh(self, image: Any, options: MeshOptions | None = None) -> Mesh:
        """Make a mesh of an image: an `Image`, or whatever `Image.of` takes."""
        ...
