"""``/api/mesh``: a mesh of what a picture shows."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from blazen.server.apis.native.shapes import FAILURES
from blazen.server.fields import WHOLE, Body, Flag, Text
from blazen.server.images import read_image
from blazen.server.service import Service, service_of
from blazen.server.work import while_connected
from blazen.types.generation import MeshOptions
from blazen.types.mesh import Mesh

router = APIRouter()

_TYPES = {
    "glb": "model/gltf-binary",
    "obj": "model/obj",
    "ply": "application/octet-stream",
    "stl": "model/stl",
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}


class MeshBody(Body):
    """A picture, and how the mesh is to be made."""

    image: Text
    """A data URL."""
    model: Text | None = None
    format: Literal["glb", "obj", "ply", "stl"] = "glb"
    resolution: Annotated[int, Field(ge=8, le=2048), WHOLE] | None = None
    remove_background: Flag = False
    texture: Flag = False


@router.post(
    "/api/mesh",
    response_class=Response,
    responses={200: {"content": dict.fromkeys(_TYPES.values(), _BYTES)}, **FAILURES},
)
async def make_mesh(request: Request, body: MeshBody) -> Response:
    """Make a mesh, and give its bytes."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "three_d")  # noqa: A001 - the manager's word
    mesh = await while_connected(request, _made(service, id, body))
    data = await asyncio.to_thread(_written, mesh, body.format)
    named = {"Content-Disposition": f'attachment; filename="mesh.{body.format}"'}
    return Response(data, media_type=_TYPES[body.format], headers=named)


async def _made(service: Service, id: str, body: MeshBody) -> Mesh:  # noqa: A002
    image = await read_image(body.image, service.settings)
    options = MeshOptions(
        resolution=body.resolution,
        remove_background=body.remove_background,
        texture=body.texture,
    )
    return await service.manager.image_to_mesh(id, image, options)


def _written(mesh: Mesh, form: str) -> bytes:
    if form != "stl":
        return mesh.to_bytes(form)
    import numpy

    # STL holds corners alone: a head of 80 bytes, a count, and 50 bytes for each triangle.
    corners = mesh.vertices[mesh.faces].astype("<f4")
    across = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = numpy.linalg.norm(across, axis=1, keepdims=True)
    rows = numpy.zeros(
        len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("end", "<u2")]
    )
    rows["normal"] = across / numpy.where(length == 0, 1, length)
    rows["corners"] = corners
    return bytes(80) + len(corners).to_bytes(4, "little") + rows.tobytes()
