"""In which number types a pipeline calculates; its VAE may have one of its own."""

from __future__ import annotations

from typing import Any

from blazen import torch as blazen_torch
from blazen.hardware import Device
from blazen.options.diffusers import DiffusersOptions

_HALVES = {"F16": "float16", "BF16": "bfloat16"}


def number_types(options: DiffusersOptions, device: Device, stored: str | None) -> tuple[str, str]:
    """Settle the number types of the pipeline and of its VAE; ``stored`` is that of its weights."""
    name = options.dtype
    if name == "auto" and device.kind == "cuda":
        name = _half(device, stored)
    name = blazen_torch.dtype_name(device, name)
    if options.vae_dtype != "auto":
        return name, blazen_torch.dtype_name(device, options.vae_dtype)
    return name, "float32" if name == "float16" else name


def _half(device: Device, stored: str | None) -> str:
    """Give the half precision of a GPU: that of the weights, which then need no conversion."""
    import torch

    wanted = _HALVES.get(stored or "", "bfloat16")  # of both, only bfloat16 never overflows
    with torch.cuda.device(device.index or 0):
        return wanted if torch.cuda.is_bf16_supported(False) else "float16"


def set_apart(vae: Any, outer: Any) -> None:
    """Have a VAE take and give what the rest calculates in, and itself go on in its own type.

    Most pipelines hand on whatever number type they have, and torch refuses to mix them.
    """
    encode, decode = vae.encode, vae.decode
    if vae.config.get("force_upcast"):
        # Pipelines of XL would widen it for each image, and leave it narrow after some.
        vae.register_to_config(force_upcast=False)

    def encode_apart(x: Any, *args: Any, **kwargs: Any) -> Any:
        found = encode(x.to(vae.dtype), *args, **kwargs)
        return _outward(found, outer)

    def decode_apart(z: Any, *args: Any, **kwargs: Any) -> Any:
        # Pixels stay as they are: to narrow them would only lose what was gained.
        return decode(z.to(vae.dtype), *args, **kwargs)

    vae.encode, vae.decode = encode_apart, decode_apart


def _outward(found: Any, outer: Any) -> Any:
    """Turn latents, or the distribution that they are drawn from, into the outer type."""
    if isinstance(found, tuple):
        return tuple(_outward(one, outer) for one in found)
    if hasattr(found, "is_floating_point"):
        return found.to(outer)
    for name in ("latent_dist", "latents", "latent", "parameters", "mean", "logvar", "std", "var"):
        value = getattr(found, name, None)
        if value is not None:
            setattr(found, name, _outward(value, outer))
    return found
