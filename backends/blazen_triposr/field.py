"""The field: how dense the volume is at any point, and which colour it has there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own documents call it

from blazen.torch import is_out_of_memory, release
from blazen_triposr.pace import Pace
from blazen_triposr.parts import Part, no_numbers
from blazen_triposr.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

_PLANES = ((0, 1), (0, 2), (1, 2))
"""Which coordinates lead to a place on each plane: along its width, then along its height."""
_FEWEST = 256
"""Points; where not even these find room, there is none."""

log = logging.getLogger("blazen.triposr")


class Field:
    """A volume of density and colour, read from three planes of features."""

    def __init__(self, planes: Tensor, part: Part, settings: Settings) -> None:
        # A point's place needs more digits than half precision has.
        self._planes = planes.float()
        self._part = part
        self._settings = settings
        self._last = 2 * settings.hidden_layers
        self._activation = F.silu if settings.activation == "silu" else F.relu

    @property
    def radius(self) -> float:
        """How far the volume goes from its middle, along each axis."""
        return self._settings.radius

    @property
    def device(self) -> torch.device:
        """Where it is calculated."""
        return self._planes.device

    def density(self, points: Tensor) -> Tensor:
        """Say how dense it is at points of shape (n, 3)."""
        found = torch.exp(self._outputs(points)[:, 0] + self._settings.density_bias)
        # Beyond all numbers is dense too, but a surface can only be cut between numbers.
        return found.clamp(max=torch.finfo(found.dtype).max)

    def colors(self, points: Tensor) -> Tensor:
        """Give red, green and blue from 0 to 1 at points of shape (n, 3)."""
        return torch.sigmoid(self._outputs(points)[:, 1:4])

    def _outputs(self, points: Tensor) -> Tensor:
        x = sample(self._planes, points, self.radius)
        dtype = self._part["layers.0.weight"].dtype
        x = x.to(dtype)
        for number in range(0, self._last, 2):
            x = self._activation(self._part.linear(f"layers.{number}", x))
        # The exponential of what half precision can hold is beyond what it can hold.
        found = self._part.linear(f"layers.{self._last}", x).float()
        if found.isnan().any():
            raise no_numbers(dtype)
        return found


def sample(planes: Tensor, points: Tensor, radius: float) -> Tensor:
    """Give the features of points: those of the first plane, then of the second and the third."""
    places = (points + radius) / (2 * radius) * 2 - 1
    grid = torch.stack([places[:, pair] for pair in map(list, _PLANES)])
    found = F.grid_sample(
        planes, grid[:, None], mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return found[:, :, 0].permute(2, 0, 1).flatten(1)


def density_grid(field: Field, resolution: int, chunk: int, pace: Pace) -> Any:
    """Give the density at the points of a cube, a NumPy array of shape (x, y, z)."""
    import numpy as np

    side = torch.linspace(0, 1, resolution, dtype=torch.float32, device=field.device)
    side = side * (2 * field.radius) - field.radius
    grid = np.empty(resolution**3, np.float32)

    def fill(start: int, end: int) -> None:
        place = torch.arange(start, end, device=field.device)
        x, rest = place // resolution**2, place % resolution**2
        points = torch.stack([side[x], side[rest // resolution], side[rest % resolution]], dim=1)
        grid[start:end] = field.density(points).cpu().numpy()

    pace.begin("query", len(grid))
    for done in in_chunks(len(grid), chunk, fill):
        pace.reach(done)
    return grid.reshape(resolution, resolution, resolution)


def colors_at(field: Field, points: Any, chunk: int, reach: Callable[[int], None]) -> Any:
    """Give the colours at points, both NumPy arrays; uint8 of shape (n, 3).

    ``reach`` hears how many points are done.
    """
    import numpy as np

    colors = np.empty((len(points), 3), np.uint8)

    def fill(start: int, end: int) -> None:
        piece = torch.from_numpy(points[start:end]).to(field.device)
        colors[start:end] = (field.colors(piece) * 255).round().to(torch.uint8).cpu().numpy()

    for done in in_chunks(len(points), chunk, fill):
        reach(done)
    return colors


def in_chunks(total: int, chunk: int, work: Callable[[int, int], None]) -> Iterator[int]:
    """Do work on ranges of points, and give how many are done after each.

    Where there is too little memory, the ranges become smaller.
    """
    done = 0
    while done < total:
        count = min(chunk, total - done)
        try:
            work(done, done + count)
        except Exception as error:
            if count <= _FEWEST or not is_out_of_memory(error):
                raise
            chunk = max(_FEWEST, count // 2)
        else:
            done += count
            yield done
            continue
        # Only here, after the error is gone, does nothing hold what it was raised over.
        release()
        log.warning("too little memory for %d points at once: %d from here on", count, chunk)
