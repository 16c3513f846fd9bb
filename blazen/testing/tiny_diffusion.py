"""A pipeline of diffusers that is 600 KB small: its images mean nothing, and all else is real."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def save_tiny_pipeline(
    folder: str | os.PathLike[str],
    *,
    flags: bool | None = None,
    safe: bool = True,
    seed: int = 0,
    widths: tuple[int, int] = (8, 16),
) -> Path:
    """Build a Stable Diffusion with random weights, save it, and give its folder.

    ``flags`` adds a safety checker: one that withholds every image (``True``), or none (``False``).
    Without ``safe`` the weights are pickles. Wider layers, by ``widths``, give a larger pipeline.
    """
    import torch

    from blazen_diffusers.quiet import quiet

    path = Path(folder)
    with quiet(), torch.random.fork_rng(devices=[]):
        from diffusers import StableDiffusionPipeline

        torch.manual_seed(seed)
        parts = _parts(path, widths)
        if flags is not None:
            parts |= _checker(flags)
        pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=flags is not None)
        pipeline.save_pretrained(str(path), safe_serialization=safe)
    return path


def save_tiny_adapter(
    folder: str | os.PathLike[str],
    *,
    name: str = "adapter.safetensors",
    seed: int = 0,
    widths: tuple[int, int] = (8, 16),
) -> Path:
    """Write a LoRA adapter with random weights for the pipeline of these widths; give its file."""
    import torch
    from safetensors.torch import save_file

    inner, rank = widths[1], 2
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    random = torch.Generator("cpu").manual_seed(seed)
    tensors = {}
    for layer in ("to_q", "to_k", "to_v"):
        place = f"unet.mid_block.attentions.0.transformer_blocks.0.attn1.{layer}"
        tensors[f"{place}.lora_A.weight"] = torch.randn(rank, inner, generator=random)
        tensors[f"{place}.lora_B.weight"] = torch.randn(inner, rank, generator=random)
    save_file(tensors, path)
    return path


def _parts(folder: Path, widths: tuple[int, int]) -> dict[str, Any]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = byte_tokenizer(folder)
    end = tokenizer.eos_token_id
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
    )
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=64,
    )
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **_SCHEDULE)
    return {
        "vae": vae,
        "text_encoder": CLIPTextModel(text),
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
    }


def byte_tokenizer(folder: Path) -> Any:
    """Make a tokenizer of CLIP that knows each byte, and no word: a character is a token."""
    from transformers import CLIPTokenizer

    # Bytes that are no printable characters are written as characters far from all text.
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printed] + [chr(256 + n) for n in range(256 - len(printed))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({t: n for n, t in enumerate(tokens)}), encoding="utf-8")
    merges.write_text("#version: 0.2\n", encoding="utf-8")
    try:
        return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=77)
    finally:
        vocabulary.unlink()
        merges.unlink()


def _checker(flags: bool) -> dict[str, Any]:
    import torch
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "projection_dim": 16,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    threshold = -2.0 if flags else 2.0  # a cosine is always above the one, and below the other
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    torch.nn.init.constant_(checker.special_care_embeds_weights, threshold)
    size = {"shortest_edge": 32}
    processor = CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})
    return {"safety_checker": checker, "feature_extractor": processor}
