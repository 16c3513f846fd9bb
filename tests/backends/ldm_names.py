"""The names that single files have for the parts of a Stable Diffusion, from those of diffusers."""

from __future__ import annotations

from safetensors.torch import load_file, save_file

_UNET = (
    ("conv_in.", "input_blocks.0.0."),
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
    ("mid_block.resnets.0.", "middle_block.0."),
    ("mid_block.attentions.0.", "middle_block.1."),
    ("mid_block.resnets.1.", "middle_block.2."),
    # Two blocks down and up, of one layer each on the way down.
    ("down_blocks.0.resnets.0.", "input_blocks.1.0."),
    ("down_blocks.0.downsamplers.0.conv.", "input_blocks.2.0.op."),
    ("down_blocks.1.resnets.0.", "input_blocks.3.0."),
    ("down_blocks.1.attentions.0.", "input_blocks.3.1."),
    ("up_blocks.0.resnets.0.", "output_blocks.0.0."),
    ("up_blocks.0.attentions.0.", "output_blocks.0.1."),
    ("up_blocks.0.resnets.1.", "output_blocks.1.0."),
    ("up_blocks.0.attentions.1.", "output_blocks.1.1."),
    ("up_blocks.0.upsamplers.0.conv.", "output_blocks.1.2.conv."),
    ("up_blocks.1.resnets.0.", "output_blocks.2.0."),
    ("up_blocks.1.resnets.1.", "output_blocks.3.0."),
)
_RESNET = (
    (".norm1.", ".in_layers.0."),
    (".conv1.", ".in_layers.2."),
    (".time_emb_proj.", ".emb_layers.1."),
    (".norm2.", ".out_layers.0."),
    (".conv2.", ".out_layers.3."),
    (".conv_shortcut.", ".skip_connection."),
)
_VAE = (
    ("down_blocks.", "down."),
    ("up_blocks.0.", "up.1."),
    ("up_blocks.1.", "up.0."),
    ("mid_block.resnets.0.", "mid.block_1."),
    ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.", "mid.attn_1."),
    (".resnets.", ".block."),
    ("downsamplers.0.conv.", "downsample.conv."),
    ("upsamplers.0.conv.", "upsample.conv."),
    ("conv_norm_out.", "norm_out."),
    ("conv_shortcut.", "nin_shortcut."),
    ("group_norm.", "norm."),
    ("to_q.", "q."),
    ("to_k.", "k."),
    ("to_v.", "v."),
    ("to_out.0.", "proj_out."),
)


def save_single_file(folder, path):
    """Write the tiny pipeline of a folder as one file."""
    found = {}
    for name, value in _weights(folder, "unet").items():
        new = name
        for ours, theirs in _UNET:
            if name.startswith(ours):
                new = theirs + name.removeprefix(ours)
        if ".resnets." in name:
            new = _replaced(new, _RESNET)
        found[f"model.diffusion_model.{new}"] = value
    for name, value in _weights(folder, "vae").items():
        attention = "attentions" in name and name.endswith("weight") and value.ndim == 2
        new = _replaced(name, _VAE)
        found[f"first_stage_model.{new}"] = value[:, :, None, None] if attention else value
    for name, value in _weights(folder, "text_encoder").items():
        # transformers has left this part of the name away since its version 5.
        plain = name.removeprefix("text_model.")
        found[f"cond_stage_model.transformer.text_model.{plain}"] = value
    save_file({name: value.contiguous() for name, value in found.items()}, path)
    return path


def _weights(folder, part):
    (path,) = (folder / part).glob("*.safetensors")
    return load_file(path)


def _replaced(name, rules):
    for ours, theirs in rules:
        name = name.replace(ours, theirs)
    return name
