"""What an unfinished image looks like, without the cost of decoding it."""

from __future__ import annotations

from collections import deque
from typing import Any

from blazen.types.image import Image

_CELL = 4
"""Latents along each side of one patch of colour."""
_LEVELS = (0.0, 0.5, 1.0)


class Previews:
    """Turns latents into small images by a linear map, which is learned from this very VAE.

    Patches of plain colour are encoded once; the map is the one that finds the colours again best.
    Each latent becomes one pixel. A GPU is never waited for: what it has ready comes with one of
    the next steps.
    """

    def __init__(self, pipeline: Any, *, wanted: bool | None) -> None:
        if wanted is None:
            wanted = getattr(pipeline, "safety_checker", None) is None
        self._vae: Any = getattr(pipeline, "vae", None)
        self._map: Any = None
        self._coming: deque[tuple[Any, Any]] = deque()
        self._failed = not wanted or not hasattr(self._vae, "encode")

    def of(self, latents: Any) -> Image | None:
        """Give the image of one request's latents; ``None`` where they are of another form."""
        if self._failed or getattr(latents, "ndim", 0) != 4:
            return None
        import torch

        with torch.no_grad():
            if self._map is None:
                try:
                    self._map = self._learn(latents.device)
                except (RuntimeError, TypeError, ValueError, AttributeError):
                    self._failed = True  # a VAE of another kind: there are no previews
                    return None
            if self._map.shape[0] != latents.shape[1] + 1:
                return None
            one = latents[0].float().permute(1, 2, 0)
            # Some schedulers begin with noise many times as strong as an image.
            one = one / one.std().clamp(min=1)
            colors = one @ self._map[:-1] + self._map[-1]
        return self._ready(colors) if colors.is_cuda else _image(colors)

    def forget(self) -> None:
        """Leave out what is still on its way from a GPU: it is of an earlier request."""
        self._coming.clear()

    def _ready(self, colors: Any) -> Image | None:
        """Send colours on their way, and give the latest that have arrived."""
        import torch

        here = torch.empty(colors.shape, dtype=colors.dtype, pin_memory=True)
        here.copy_(colors, non_blocking=True)
        self._coming.append((torch.cuda.current_stream(colors.device).record_event(), here))
        latest = None
        while self._coming and self._coming[0][0].query():
            latest = self._coming.popleft()[1]
        return None if latest is None else _image(latest)

    def _learn(self, device: Any) -> Any:
        import torch

        wanted = torch.cartesian_prod(*[torch.tensor(_LEVELS)] * 3)
        count = len(wanted)
        factor = 2 ** (len(self._vae.config.block_out_channels) - 1)
        side = _CELL * factor
        patches = wanted.t().reshape(3, 1, count, 1).expand(3, side, count, side)
        pixels = patches.reshape(1, 3, side, count * side) * 2 - 1
        encoded = self._vae.encode(pixels.to(device, self._vae.dtype))
        found = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        shift = getattr(self._vae.config, "shift_factor", None) or 0.0
        latents = (found[0].float().cpu() - shift) * self._vae.config.scaling_factor
        cells = latents.reshape(latents.shape[0], _CELL, count, _CELL)
        # The borders of a patch hold something of its neighbours.
        means = cells[:, 1:-1, :, 1:-1].mean((1, 3)).t()
        known = torch.cat([means, torch.ones(count, 1)], 1)
        # A little stiffness keeps a map finite where colours do not spread over all channels.
        stiff = 1e-4 * torch.eye(known.shape[1])
        found = torch.linalg.solve(known.t() @ known + stiff, known.t() @ wanted)
        return found.to(device)


def _image(colors: Any) -> Image | None:
    import numpy as np

    array = colors.cpu().numpy()
    if not np.isfinite(array).all():
        return None
    return Image.from_array((array.clip(0, 1) * 255).round().astype("uint8"))
