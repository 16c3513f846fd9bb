"""TripoSR at its published size, with random weights that keep its numbers in a sane range."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from blazen import Image

CONFIG = """\
cond_image_size: 512
image_tokenizer: {pretrained_model_name_or_path: facebook/dino-vitb16}
tokenizer: {plane_size: 32, num_channels: 1024}
backbone:
  in_channels: ${tokenizer.num_channels}
  num_attention_heads: 16
  attention_head_dim: 64
  num_layers: 16
  cross_attention_dim: 768
post_processor: {in_channels: 1024, out_channels: 40}
decoder: {in_channels: 120, n_neurons: 64, n_hidden_layers: 9, activation: silu}
renderer:
  radius: 0.87
  feature_reduction: concat
  density_activation: exp
  density_bias: -1.0
"""
SIDE = 512
_OUTWARD = 0.2
"""Blocks add up to large numbers, which the exponential of the density would not bear."""
_DECODER_GAIN = 1.7
"""What a layer must multiply by, so that numbers do not fade behind its activation."""


_WAVES = 4
"""How often the volume changes along each side."""


def save_published(folder: Path) -> Path:
    """Write ``config.yaml`` and ``model.ckpt`` as they are published."""
    import torch

    from blazen_triposr.names import Encoder, expected
    from blazen_triposr.settings import read_settings

    (folder / "config.yaml").write_text(CONFIG, "utf-8")
    settings = read_settings(folder / "config.yaml")
    encoder = Encoder(channels=768, heads=12, layers=12, inner=3072, patch=16, places=197)
    torch.manual_seed(0)
    tensors = {name: _tensor(name, shape) for name, shape in expected(settings, encoder).items()}
    torch.save(tensors, folder / "model.ckpt")
    return folder


def _tensor(name: str, shape: tuple[int, ...]) -> Any:
    import torch

    if name.endswith(".bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    # Smooth planes give a volume with some objects in it, and not a cube full of crumbs.
    if name == "tokenizer.embeddings":
        few = torch.randn(*shape[:2], _WAVES, _WAVES) / math.sqrt(shape[1])
        return torch.nn.functional.interpolate(few, shape[2:], mode="bicubic")
    if name == "post_processor.upsample.weight":
        return (torch.randn(*shape[:2], 1, 1) / math.sqrt(shape[0])).expand(shape).clone()
    if name == "backbone.proj_out.weight":
        return torch.randn(shape) * (_OUTWARD / math.sqrt(shape[1]))
    inputs = math.prod(shape[1:])
    gain = _DECODER_GAIN if name.startswith("decoder.") else 1.0
    return torch.randn(shape) * (gain / math.sqrt(inputs))


def picture() -> Image:
    """Give a picture of one object on a transparent ground."""
    import numpy as np

    y, x = np.mgrid[:SIDE, :SIDE] / SIDE * 2 - 1
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[..., 0] = 127 * (x + 1)
    pixels[..., 1] = 127 * (y + 1)
    pixels[..., 2] = 127 * (np.sin(9 * x) * np.cos(7 * y) + 1)
    pixels[..., 3] = np.where(x * x + y * y < 0.6, 255, 0)
    return Image.from_array(pixels)
