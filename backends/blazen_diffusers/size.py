"""How much memory a pipeline takes: its weights by part, and its sums by the size of an image.

The factors were measured with the shapes of Stable Diffusion 1.5 and XL: docs/diffusers.md.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from blazen.hardware import Device
from blazen.types.footprint import Footprint
from blazen.weights.safetensors import read_safetensors
from blazen_diffusers.files import PipelineFiles, component_files
from blazen_diffusers.index import INDEX
from blazen_diffusers.plan import TILE_SIDE, Plan, Sizes
from blazen_diffusers.quiet import hushed

_CUBLAS = 33 << 20
_FLOATS = ("F64", "F32", "F16", "BF16")
_VAE_PARTS = ("vae", "vqvae", "movq")
_VAE_PREFIX = "first_stage_model."
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_USUAL_SIDE = 512
_USUAL_SIDE_OF_TRANSFORMERS = 1024
_GUIDED = 2
"""With guidance each image is calculated twice at once: with the prompt, and without."""
_CONVOLUTION = 11
"""Numbers for each channel that a denoiser's layer of convolutions holds at once."""
_ATTENTION = 21
"""The same for a layer with attention, whose inner layers are wider."""
_TRANSFORMER = 14
_SCORES = 1.5
"""Scores of attention that are held at once: before and after the softmax, in turns."""
_DECODER = 4.75
"""Layers of full width that a decoder holds at once, what a convolution needs beside included."""


def pipeline_sizes(
    files: PipelineFiles, device: Device, *, dtype: str, vae_dtype: str, batch_size: int
) -> Sizes:
    """Say what each part takes, and what making images of the usual size takes on top."""
    dtype_bytes = _BYTES[dtype]
    folder = files.config if files.is_single else files.path
    denoiser = _settings(folder, "unet") or _settings(folder, "transformer")
    vae = _settings(folder, "vae") or _settings(folder, "vqvae")
    widened = vae_dtype == "float16" and vae.get("force_upcast") and _widens(folder)
    vae_bytes = _BYTES["float32" if widened else vae_dtype]
    parts = {}
    for part, paths in component_files(files).items():
        width = vae_bytes if part in _VAE_PARTS else dtype_bytes
        parts[part] = sum(_weight_bytes(path, width, vae_bytes) for path in paths)
    scale = 2 ** (len(vae.get("block_out_channels", "....")) - 1)
    side = _sample_side(denoiser, scale)
    latents = (side // scale) ** 2
    images = (1 if denoiser.get("guidance_embeds") else _GUIDED) * batch_size
    whole, half = _score_bytes(denoiser, latents, images, dtype_bytes)
    channels = vae.get("block_out_channels") or [128, 256]
    decoder = int(_DECODER * channels[min(1, len(channels) - 1)] * vae_bytes)
    return Sizes(
        parts,
        fixed=_CUBLAS if device.kind == "cuda" else 0,
        denoise=images * latents * _denoiser_width(denoiser, vae) * dtype_bytes,
        # Elsewhere torch's attention goes over the scores without ever holding them all.
        scores=whole if device.kind == "metal" else 0,
        sliced=half,
        decode=side**2 * decoder,
        decode_tiled=min(side, TILE_SIDE) ** 2 * decoder,
    )


def pipeline_footprint(sizes: Sizes, plan: Plan, device: Device, *, libraries: int) -> Footprint:
    """Say which memory fills with what."""
    work = plan.work(sizes)
    if device.pool == "cpu":
        return Footprint(
            resident={"cpu": libraries + sizes.weights}, per_request={"cpu": work} if work else {}
        )
    waiting = 0 if plan.offload == "none" else sizes.weights
    resident = plan.resident(sizes)
    return Footprint(
        resident={"cpu": libraries + waiting, device.pool: max(1, resident)},
        load_peak={"cpu": libraries + sizes.weights},
        per_request={device.pool: max(1, plan.peak(sizes) - resident)},
    )


def _weight_bytes(path: Path, width: int, vae_bytes: int) -> int:
    if path.suffix != ".safetensors":
        return path.stat().st_size
    total = 0
    for tensor in read_safetensors(path).tensors:
        floats = tensor.dtype in _FLOATS
        per = vae_bytes if tensor.name.startswith(_VAE_PREFIX) else width
        total += tensor.elements * per if floats else tensor.nbytes
    return total


def _settings(folder: Path | None, part: str) -> dict[str, Any]:
    return {} if folder is None else _json(folder / part / "config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@hushed()
def _widens(folder: Path | None) -> bool:
    """Tell whether a pipeline turns its VAE from half to full precision, as those of XL do."""
    import diffusers

    name = {} if folder is None else _json(folder / INDEX)
    return hasattr(getattr(diffusers, str(name.get("_class_name")), None), "upcast_vae")


def _sample_side(denoiser: dict[str, Any], scale: int) -> int:
    side: Any = denoiser.get("sample_size")
    if isinstance(side, (list, tuple)):
        side = math.isqrt(math.prod(side))
    if isinstance(side, int) and side > 0:
        return side * scale
    return _USUAL_SIDE_OF_TRANSFORMERS if "num_attention_heads" in denoiser else _USUAL_SIDE


def _denoiser_width(denoiser: dict[str, Any], vae: dict[str, Any]) -> int:
    """Say how many numbers one place of the latents takes at the widest point of a pass."""
    channels = denoiser.get("block_out_channels")
    if isinstance(channels, list) and channels:
        layers = denoiser.get("layers_per_block", 2)
        layers = max(layers) if isinstance(layers, list) else layers
        # A UNet keeps the outcome of each layer on its way down until it comes up again.
        kept = sum((layers + 1) * width / 4**depth for depth, width in enumerate(channels))
        return int(
            kept
            + max(
                (_ATTENTION if attends else _CONVOLUTION) * width / 4**depth
                for depth, (width, attends) in enumerate(
                    zip(channels, _attending(denoiser), strict=False)
                )
            )
        )
    heads = denoiser.get("num_attention_heads", 24)
    hidden = heads * denoiser.get("attention_head_dim", 64)
    patch = denoiser.get("patch_size", 2)
    if patch == 1 and denoiser.get("in_channels", 0) == 4 * vae.get("latent_channels", 4):
        patch = 2  # four latents come packed into one
    return int(_TRANSFORMER * hidden / patch**2)


def _attending(denoiser: dict[str, Any]) -> list[bool]:
    return ["Attn" in str(kind) for kind in denoiser.get("down_block_types", ())]


def _score_bytes(
    denoiser: dict[str, Any], latents: int, images: int, number: int
) -> tuple[int, int]:
    """Say what the scores of the widest attention take, whole and in slices of half the heads."""
    attending = _attending(denoiser)
    if not any(attending):
        return 0, 0
    depth = attending.index(True)
    # What is called the size of a head there is the number of heads.
    heads: Any = denoiser.get("attention_head_dim", 8)
    heads = heads[depth] if isinstance(heads, list) else heads
    one = int(_SCORES * (latents // 4**depth) ** 2 * number)
    return images * heads * one, max(1, heads // 2) * one
