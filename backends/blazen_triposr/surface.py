"""The surface: triangles where the density passes a threshold."""

from __future__ import annotations

from typing import Any

from blazen.errors import InferenceError
from blazen.extras import need
from blazen_triposr.pace import Pace

_CELLS = 1 << 16
"""How many cells are looked at in one go: scikit-image lets no other thread run meanwhile."""


def surface(grid: Any, threshold: float, pace: Pace) -> tuple[Any, Any]:
    """Give vertices, in cells from the grid's first corner, and faces that look outward.

    The grid is gone through slab by slab; no two vertices are at one place.
    """
    import numpy as np

    low, high = float(grid.min()), float(grid.max())
    if not low < threshold < high:
        raise InferenceError(
            f"there is no surface at the threshold {threshold:g}: the densities go from {low:.3g} "
            f"to {high:.3g}"
        )
    depth = max(1, _CELLS // (grid.shape[1] * grid.shape[2]))
    starts = range(0, grid.shape[0] - 1, depth)
    vertices: list[Any] = []
    faces: list[Any] = []
    count, border = 0, _Border(np.empty(0, np.uint64), np.empty(0, np.int64))
    pace.begin("surface", len(starts))
    for number, start in enumerate(starts):
        slab = grid[start : start + depth + 1]
        if slab.min() < threshold < slab.max():
            found, corners = _march(slab, threshold)
            places, new = border.joined(found, count)
            vertices.append(found[new] + np.array((start, 0, 0), np.float32))
            faces.append(places[corners])
            border = _Border.of(found, places, slab.shape[0] - 1)
            count += int(new.sum())
        else:
            border = _Border(np.empty(0, np.uint64), np.empty(0, np.int64))
        pace.reach(number + 1)
    if not faces:
        raise InferenceError(f"there is no surface at the threshold {threshold:g}")
    return _met(np.concatenate(vertices), np.concatenate(faces), grid.shape)


def _met(vertices: Any, faces: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Make vertices at one place one, and drop the faces that are nothing then.

    Each lies on an edge of its own: only at the points of the grid can two of them meet.
    """
    import numpy as np

    nearest = np.rint(vertices)
    # Nearer than the last digit that a place in the grid has: at one place, but for rounding.
    near = max(shape) * np.finfo(np.float32).eps
    there = np.flatnonzero((np.abs(vertices - nearest) <= near).all(axis=1))
    points = np.ravel_multi_index(tuple(nearest[there].astype(np.int64).T), shape)
    _, first, which = np.unique(points, return_index=True, return_inverse=True)
    places = np.arange(len(vertices))
    places[there] = there[first[which]]
    kept = places == np.arange(len(vertices))
    joined = (np.cumsum(kept) - 1)[places][faces]
    flat = (joined == np.roll(joined, 1, axis=1)).any(axis=1)
    return vertices[kept], joined[~flat]


class _Border:
    """The vertices on the plane where one slab ends and the next begins."""

    def __init__(self, keys: Any, places: Any) -> None:
        self._keys = keys
        self._places = places

    @classmethod
    def of(cls, found: Any, places: Any, end: int) -> _Border:
        import numpy as np

        there = np.flatnonzero(found[:, 0] == end)
        keys, first = np.unique(_keys(found[there]), return_index=True)
        return cls(keys, places[there[first]])

    def joined(self, found: Any, count: int) -> tuple[Any, Any]:
        """Say where each of a slab's vertices goes, and which are new; ``count`` are there."""
        import numpy as np

        places = np.full(len(found), -1, np.int64)
        there = np.flatnonzero(found[:, 0] == 0)
        if len(self._keys) and len(there):
            keys = _keys(found[there])
            near = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
            known = self._keys[near] == keys
            places[there[known]] = self._places[near[known]]
        new = places < 0
        places[new] = count + np.arange(new.sum())
        return places, new


def _keys(found: Any) -> Any:
    """Give one number for each pair of y and z: both slabs calculate the very same."""
    import numpy as np

    bits = np.ascontiguousarray(found[:, 1:]).view(np.uint32).astype(np.uint64)
    return (bits[:, 0] << np.uint64(32)) | bits[:, 1]


def _march(slab: Any, threshold: float) -> tuple[Any, Any]:
    measure = need("skimage.measure", extra="triposr", what="cutting a surface")
    vertices, faces, _, _ = measure.marching_cubes(slab, threshold, gradient_direction="ascent")
    return vertices, faces
