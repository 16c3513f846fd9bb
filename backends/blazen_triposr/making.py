"""From a picture to a mesh: one request, from its first step to its last."""

from __future__ import annotations

from typing import Any, Literal

import torch

from blazen import hardware
from blazen.bridge import StreamJob
from blazen.errors import BudgetError
from blazen.torch import use_threads
from blazen.types.generation import MeshChunk, MeshOptions
from blazen.types.image import Image
from blazen.types.mesh import Mesh
from blazen_triposr.atlas import bake
from blazen_triposr.engine import Engine
from blazen_triposr.field import Field, colors_at, density_grid
from blazen_triposr.pace import Pace, Stopped
from blazen_triposr.picture import centred, normalised, pixels_of
from blazen_triposr.size import RESOLUTION, chunk_size
from blazen_triposr.surface import surface

_THRESHOLD = 25.0


def make(
    engine: Engine,
    job: StreamJob[MeshChunk],
    image: Image,
    options: MeshOptions,
    axes: Literal["gltf", "raw"],
) -> None:
    """Make a mesh of a picture, telling each step."""
    use_threads(engine.threads)
    pace = Pace(job)
    try:
        with torch.inference_mode():
            pixels = _prepared(engine, image, options, pace)
            field = engine.field(normalised(pixels, engine.settings.image_size), pace)
            mesh = mesh_of(field, options, axes, pace)
        pace.emit(MeshChunk("mesh", 1, 1, mesh))
    except Stopped:
        return


def mesh_of(field: Field, options: MeshOptions, axes: Literal["gltf", "raw"], pace: Pace) -> Mesh:
    """Cut the surface out of a volume, and give it the colours that it has there."""
    resolution = options.resolution or RESOLUTION
    threshold = _THRESHOLD if options.threshold is None else options.threshold
    chunk = options.chunk_size or chunk_size(field.device.type != "cpu")
    needed, room = 4 * resolution**3, hardware.memory().available
    if needed > room:
        raise BudgetError(
            f"a resolution of {resolution} takes {needed / 2**30:.1f} GiB for the densities, and "
            f"{room / 2**30:.1f} GiB are free: ask for a lower one"
        )
    found, faces = surface(density_grid(field, resolution, chunk, pace), threshold, pace)
    vertices = found / (resolution - 1) * (2 * field.radius) - field.radius
    if options.texture:

        def colors(points: Any) -> Any:
            return colors_at(field, points, chunk, lambda done: pace.check())

        atlas = bake(vertices, faces, options.texture_size, colors, pace)
        return Mesh(_turned(atlas.vertices, axes), atlas.faces, uv=atlas.uv, texture=atlas.pixels)
    pace.begin("color", len(vertices))
    painted = colors_at(field, vertices, chunk, pace.reach)
    return Mesh(_turned(vertices, axes), faces, vertex_colors=painted)


def _prepared(engine: Engine, image: Image, options: MeshOptions, pace: Pace) -> Any:
    pace.begin("prepare", 1)
    pixels = pixels_of(image)
    if options.remove_background and pixels.shape[2] == 3:
        assert engine.cutter is not None, "a request is refused where there is none"
        pixels = engine.cutter.cut(pixels)
    return centred(pixels, options.foreground_ratio)


def _turned(vertices: Any, axes: str) -> Any:
    # The network has x towards the viewer, y to the right and z up.
    return vertices[:, [1, 2, 0]] if axes == "gltf" else vertices
