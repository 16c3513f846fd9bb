"""A texture for a mesh: each pair of triangles has a square of it to itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blazen.errors import ValidationError
from blazen_triposr.pace import Pace

_SMALLEST = 4
"""Pixels along a square: two triangles and the gap between them find no room in fewer."""
_USUAL = 8
_SIDES = (256, 512, 1024, 2048, 4096)
_AT_ONCE = 1 << 18
"""Pixels that are coloured in one go."""


@dataclass(frozen=True)
class Atlas:
    """A mesh whose triangles share no vertices, and where they lie on a picture."""

    vertices: Any
    faces: Any
    uv: Any
    pixels: Any


def bake(
    vertices: Any, faces: Any, size: int | None, colors: Callable[[Any], Any], pace: Pace
) -> Atlas:
    """Paint a texture; ``colors`` gives the colours of points, of shape (n, 3).

    A pixel has the colour of the very point of the surface where it lies, and so has the row of
    pixels beyond the long side of each triangle, which shows when the texture is smoothed.
    """
    import numpy as np

    across = int(np.ceil(np.sqrt(-(-len(faces) // 2))))
    side = size or next((s for s in _SIDES if s >= across * _USUAL), _SIDES[-1])
    cell = side // across
    if cell < _SMALLEST:
        raise ValidationError(
            f"a texture of {side} pixels has no room for {len(faces):,} triangles: "
            f"texture_size must be {across * _SMALLEST} at least, or the resolution lower"
        )
    pixels = np.zeros((side, side, 3), np.uint8)
    corners, places, shares = _layout(cell)
    uv = np.empty((len(faces), 3, 2), np.float32)
    pace.begin("texture", len(faces))
    step = max(1, _AT_ONCE // len(shares))
    for start in range(0, len(faces), step):
        numbers = np.arange(start, min(start + step, len(faces)))
        pair, half = numbers // 2, numbers % 2
        origin = np.stack([pair % across, pair // across], axis=1) * cell
        points = shares @ vertices[faces[numbers]]
        painted = colors(np.ascontiguousarray(points.reshape(-1, 3), np.float32))
        where = origin[:, None] + places[half]
        pixels[where[..., 1], where[..., 0]] = painted.reshape(*where.shape[:2], 3)
        at = (origin[:, None] + corners[half] + 0.5) / side
        uv[numbers] = np.stack([at[..., 0], 1 - at[..., 1]], axis=2)
        pace.reach(start + len(numbers))
    return Atlas(
        vertices[faces].reshape(-1, 3),
        np.arange(3 * len(faces)).reshape(-1, 3),
        uv.reshape(-1, 2),
        pixels,
    )


def _layout(cell: int) -> tuple[Any, Any, Any]:
    """Give the corners and the pixels of both triangles of a square, and each pixel's place.

    A place is given as the shares of the three corners. Between the two triangles one diagonal
    stays free, so that neither's colours run into the other's.
    """
    import numpy as np

    long = cell - 3
    first = np.array([(0, 0), (long, 0), (0, long)])
    corners = np.stack([first, cell - 1 - first])
    x, y = np.meshgrid(np.arange(cell), np.arange(cell))
    inside = np.stack([x, y], axis=2)[x + y <= long + 1]
    places = np.stack([inside, cell - 1 - inside])
    across, down = inside[:, 0] / long, inside[:, 1] / long
    over = np.maximum(across + down, 1)
    across, down = across / over, down / over
    return corners, places, np.stack([1 - across - down, across, down], axis=1)
