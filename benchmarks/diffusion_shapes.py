"""Pipelines of diffusers in the shapes of known ones, with random weights, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blazen.testing.tiny_diffusion import byte_tokenizer

_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
_CLIP_L: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
_CLIP_G: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
SIDES = {"sd15": 512, "sdxl": 1024}


def save_shape(name: str, folder: Path, device: str = "cuda", dtype: str = "float16") -> Path:
    """Build the pipeline on a device, and save its weights in one number type."""
    import torch

    torch.manual_seed(0)
    with torch.device(device):
        pipeline = {"sd15": _sd15, "sdxl": _sdxl}[name](folder)
    pipeline.to(dtype=getattr(torch, dtype))
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    del pipeline
    if device == "cuda":
        torch.cuda.empty_cache()
    return folder


def _sd15(folder: Path) -> Any:
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel

    tokenizer = byte_tokenizer(folder)
    return StableDiffusionPipeline(
        vae=AutoencoderKL(**_VAE, sample_size=512, scaling_factor=0.18215),
        text_encoder=CLIPTextModel(_clip(tokenizer, _CLIP_L)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **_SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl(folder: Path) -> Any:
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = byte_tokenizer(folder)
    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(**_VAE, sample_size=1024, scaling_factor=0.13025, force_upcast=True),
        text_encoder=CLIPTextModel(_clip(tokenizer, _CLIP_L)),
        text_encoder_2=CLIPTextModelWithProjection(_clip(tokenizer, _CLIP_G)),
        tokenizer=tokenizer,
        tokenizer_2=byte_tokenizer(folder),
        unet=unet,
        scheduler=EulerDiscreteScheduler(**_SCHEDULE),
        add_watermarker=False,
    )


def _clip(tokenizer: Any, sizes: dict[str, Any]) -> Any:
    from transformers import CLIPTextConfig

    end = tokenizer.eos_token_id
    start = tokenizer.bos_token_id
    return CLIPTextConfig(**sizes, bos_token_id=start, eos_token_id=end, pad_token_id=end)
