"""A TripoSR of a few kilobytes, with weights of chance: to try things out where there are none.

It has all the parts of the published network under their published names, each of them small. What
it makes of a picture has no meaning, but depends on the picture, and is the same each time.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from blazen.extras import need

CONFIG = """\
cond_image_size: 64
image_tokenizer_cls: tsr.models.tokenizers.image.DINOSingleImageTokenizer
image_tokenizer:
  pretrained_model_name_or_path: facebook/dino-vitb16
  num_attention_heads: 2
tokenizer_cls: tsr.models.tokenizers.triplane.Triplane1DTokenizer
tokenizer:
  plane_size: 4
  num_channels: 64
backbone_cls: tsr.models.transformer.transformer_1d.Transformer1D
backbone:
  in_channels: ${tokenizer.num_channels}
  num_attention_heads: 4
  attention_head_dim: 16
  num_layers: 2
  cross_attention_dim: 32
post_processor_cls: tsr.models.network_utils.TriplaneUpsampleNetwork
post_processor:
  in_channels: 64
  out_channels: 8
decoder_cls: tsr.models.network_utils.NeRFMLP
decoder:
  in_channels: 24
  n_neurons: 16
  n_hidden_layers: 3
  activation: silu
renderer_cls: tsr.models.nerf_renderer.TriplaneNeRFRenderer
renderer:
  radius: 0.87
  feature_reduction: concat
  density_activation: exp
  density_bias: -1.0
  num_samples_per_ray: 128
"""

_WIDTH = 32
_LAYERS = 2
_THRESHOLD = 25.0


def save_tiny_triposr(folder: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Write ``config.yaml`` and ``model.ckpt`` into a folder, and give it."""
    torch = need("torch", extra="triposr", what="making a small TripoSR")
    from blazen_triposr.names import Encoder, expected
    from blazen_triposr.settings import read_settings

    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(CONFIG, "utf-8")
    settings = read_settings(path / "config.yaml")
    encoder = Encoder(_WIDTH, heads=2, layers=_LAYERS, inner=2 * _WIDTH, patch=16, places=5)
    chance = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shape, generator=chance, dtype=torch.float32) * 0.2
        for name, shape in expected(settings, encoder).items()
    }
    # So the density passes the usual threshold somewhere in the volume, whatever the picture.
    last = f"decoder.layers.{2 * settings.hidden_layers}"
    tensors[f"{last}.weight"][0] *= 8
    tensors[f"{last}.bias"][0] = math.log(_THRESHOLD) - settings.density_bias
    torch.save(tensors, path / "model.ckpt")
    return path
