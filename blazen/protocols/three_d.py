"""3D: an image in, a mesh out."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from blazen.options.compat3d import Compat3dOptions
from blazen.options.triposr import TripoSrOptions
from blazen.protocols.hosted import Hosted
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.generation import MeshOptions, MeshStream
from blazen.types.mesh import Mesh


class ThreeDFactory(Factory[P, O, "LocalThreeD"]):
    """Builds a 3D model that runs on this machine."""

    kind = "three_d"


class HostedThreeDFactory(Factory[P, O, "HostedThreeD"]):
    """Builds a 3D model that runs elsewhere."""

    kind = "three_d"


class ThreeDKind(Kind):
    """The factories of `ThreeD`."""

    kind = "three_d"

    compat3d = HostedThreeDFactory("compat3d", Compat3dOptions)
    triposr = ThreeDFactory("triposr", TripoSrOptions)


@runtime_checkable
class ThreeD(Protocol, metaclass=ThreeDKind):
    """A model that makes a mesh of an image. A subclass writes `image_to_mesh_stream`."""

    def image_to_mesh_stream(self, image: Any, options: MeshOptions | None = None) -> MeshStream:
        """Make a mesh of an image, and tell of each step on the way."""
        ...

    async def image_to_mesh(self, image: Any, options: MeshOptions | None = None) -> Mesh:
        """Make a mesh of an image: an `Image`, or whatever `Image.of` takes."""
        return await self.image_to_mesh_stream(image, options).collect()


@runtime_checkable
class HostedThreeD(ThreeD, Hosted, Protocol):
    """A 3D model that runs elsewhere."""


@runtime_checkable
class LocalThreeD(ThreeD, Local, Protocol):
    """A 3D model on this machine."""
