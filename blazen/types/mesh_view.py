"""What a mesh looks like, as a small picture: for a notebook, with nothing but NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blazen.types.image import Image

if TYPE_CHECKING:
    from blazen.types.mesh import Mesh

_SIDE = 256
_FINE = 2
"""Pixels that are calculated along each side of one that is shown."""
_MANY = 200_000
"""Faces that are drawn whole: of more, those that are smaller than a pixel are drawn in part."""
_DENSITY = 3.0
"""Points on a surface for each of these pixels that it covers."""
_MARGIN = 0.92
_GREY = 180.0
_SHADOW = 0.35
_TILT = 0.35
_TURNS = (0.6, 0.6 + 3.1415926)
"""Radians: from the front and its right, and from behind."""


def picture_of(mesh: Mesh) -> Image:
    """Draw a mesh from two sides, next to each other, on a transparent ground."""
    import numpy as np

    fine = _FINE if len(mesh.faces) <= _MANY else 1
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    size = float(np.linalg.norm(high - low)) or 1.0
    corners = (corners - (low + high) / 2) * (_MARGIN * _SIDE * fine / size)
    faces = mesh.faces
    if len(faces) > _MANY:
        kept = np.linalg.norm(_normals(corners), axis=1) / 2 > 1
        kept[:: -(-len(faces) // _MANY)] = True
        corners, faces = corners[kept], faces[kept]
    views = [_view(mesh, faces, corners @ _turn(np, angle).T, fine) for angle in _TURNS]
    return Image.from_array(np.concatenate(views, axis=1))


def _normals(corners: Any) -> Any:
    """Give a normal for each face, as long as twice its area."""
    import numpy as np

    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _turn(np: Any, angle: float) -> Any:
    across, down = (np.cos(angle), np.sin(angle)), (np.cos(_TILT), np.sin(_TILT))
    yaw = np.array([[across[0], 0, -across[1]], [0, 1, 0], [across[1], 0, across[0]]])
    pitch = np.array([[1, 0, 0], [0, down[0], -down[1]], [0, down[1], down[0]]])
    return pitch @ yaw


def _view(mesh: Mesh, faces: Any, corners: Any, fine: int) -> Any:
    """Scatter points over all faces; of those at one place, the nearest to the viewer shows."""
    import numpy as np

    normals = _normals(corners)
    areas = np.linalg.norm(normals, axis=1)
    light = np.abs(normals @ np.array([0.3, 0.5, 0.81])) / np.maximum(areas, 1e-12)
    counts = np.ceil(np.abs(normals[:, 2]) / 2 * _DENSITY).astype(np.int64) + 1
    face = np.repeat(np.arange(len(corners)), counts)
    number = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Points that spread evenly however many there are; those beyond the diagonal fold back.
    along, beside = (0.5 + number * 0.7548776662) % 1, (0.5 + number * 0.5698402910) % 1
    beyond = along + beside > 1
    along, beside = np.where(beyond, 1 - along, along), np.where(beyond, 1 - beside, beside)
    weights = np.stack([1 - along - beside, along, beside], axis=1)
    places = np.einsum("nk,nkc->nc", weights, corners[face])
    shades = _SHADOW + (1 - _SHADOW) * light[face, None]
    order = np.argsort(places[:, 2], kind="stable")
    side = _SIDE * fine
    x = (places[order, 0] + side / 2).astype(np.int64).clip(0, side - 1)
    y = (side / 2 - places[order, 1]).astype(np.int64).clip(0, side - 1)
    drawn = np.zeros((side, side, 4))
    drawn[y, x, :3] = (_colors(mesh, faces[face], weights) * shades)[order]
    drawn[y, x, 3] = 255
    joined = drawn.reshape(_SIDE, fine, _SIDE, fine, 4).mean((1, 3))
    joined[..., :3] *= 255 / np.maximum(joined[..., 3:], 1)
    return joined.clip(0, 255).astype(np.uint8)


def _colors(mesh: Mesh, indices: Any, weights: Any) -> Any:
    import numpy as np

    if mesh.vertex_colors is not None:
        return np.einsum("nk,nkc->nc", weights, mesh.vertex_colors[indices][..., :3])
    if mesh.uv is None or mesh.texture is None:
        return np.full((len(indices), 3), _GREY)
    places = np.einsum("nk,nkc->nc", weights, mesh.uv[indices])
    pixels = np.asarray(mesh.texture.to_pil().convert("RGB"))
    height, width = pixels.shape[:2]
    x = (places[:, 0] * width).astype(np.int64).clip(0, width - 1)
    y = ((1 - places[:, 1]) * height).astype(np.int64).clip(0, height - 1)
    return pixels[y, x]
