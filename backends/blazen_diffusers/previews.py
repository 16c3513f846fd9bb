"""What an unfinished image looks like, without the cost of decoding it."""

from __future__ import annotations

from typing import Any

from blazen.types.image import Image

_CELL = 4
"""Latents along each side of one patch of colour."""
_LEVELS = (0.0, 0.5, 1.0)


class Previews:
    """Turns latents into small images by a linear map, which is learned from this very VAE.

    Patches of plain colour are encoded once; the map is the one that finds the colours again best.
    Each latent becomes one pixel.
    """

    def __init__(self, pipeline: Any, *, wanted: bool | None) -> None:
        if wanted is None:
            wanted = getattr(pipeline, "safety_checker", None) is None
        self._vae: Any = getattr(pipeline, "vae", None)
        self._map: Any = None
        self._failed = not wanted or not hasattr(self._vae, "encode")

    def of(self, latents: Any) -> Image | None:
        """Give the image of one request's latents; ``None`` where they are of another form."""
        if self._failed or getattr(latents, "ndim", 0) != 4:
            return None
        import numpy as np
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
            # All of it where the latents are: a GPU is waited for once, and not at every line.
            colors = (one @ self._map[:-1] + self._map[-1]).cpu().numpy()
        if not np.isfinite(colors).all():
            return None
        return Image.from_array((colors.clip(0, 1) * 255).round().astype("uint8"))

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
