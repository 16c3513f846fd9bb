"""Which tensors a checkpoint must have, and of which shapes: by their published names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from blazen.errors import LoadError
from blazen_triposr.settings import Settings

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

VIT = "image_tokenizer.model"
_SHOWN = 8
_HEAD_SIZE = 64
"""Channels of one head in every vision transformer that DINO was published as."""


@dataclass(frozen=True)
class Encoder:
    """The sizes of the vision transformer, which the config does not hold but the weights show."""

    channels: int
    heads: int
    layers: int
    inner: int
    patch: int
    places: int


def read_encoder(shapes: Shapes, settings: Settings, path: Path) -> Encoder:
    """Tell the encoder's sizes by its tensors."""
    try:
        channels, colors, patch, _ = shapes[f"{VIT}.embeddings.patch_embeddings.projection.weight"]
        places = shapes[f"{VIT}.embeddings.position_embeddings"][1]
        inner = shapes[f"{VIT}.encoder.layer.0.intermediate.dense.weight"][0]
    except (KeyError, ValueError, IndexError) as error:
        some = ", ".join(sorted(shapes)[:_SHOWN])
        raise LoadError(
            f"{path} has no image encoder by TripoSR's names ({VIT}.…); it has {some or 'nothing'}"
        ) from error
    layer = re.compile(rf"{re.escape(VIT)}\.encoder\.layer\.(\d+)\.")
    numbers = {found[1] for name in shapes if (found := layer.match(name))}
    heads = settings.vit_heads or max(1, channels // _HEAD_SIZE)
    side = round((places - 1) ** 0.5)
    if (
        channels % heads
        or colors != 3
        or patch < 1
        or settings.image_size % patch
        or side * side + 1 != places
    ):
        raise LoadError(
            f"{path}: an encoder of {channels} channels, {heads} heads, {places} places and "
            f"patches of {patch} does not fit images of {settings.image_size} pixels"
        )
    return Encoder(channels, heads, len(numbers), inner, patch, places)


def check_shapes(shapes: Shapes, settings: Settings, encoder: Encoder, path: Path) -> None:
    """Refuse a checkpoint that lacks a tensor, has one too many, or one of another shape."""
    wanted = expected(settings, encoder)
    problems = []
    for what, names in (
        ("missing", sorted(wanted.keys() - shapes.keys())),
        ("unexpected", sorted(shapes.keys() - wanted.keys())),
        (
            "of the wrong shape",
            [
                f"{name} {shapes[name]} instead of {shape}"
                for name, shape in sorted(wanted.items())
                if shapes.get(name, shape) != shape
            ],
        ),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            problems.append(f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")
    if problems:
        raise LoadError(f"{path} is not the TripoSR that config.yaml says; {'; '.join(problems)}")


def expected(settings: Settings, encoder: Encoder) -> dict[str, tuple[int, ...]]:
    """Give every name, with its shape."""
    return {
        **_encoder(encoder),
        "tokenizer.embeddings": (3, settings.channels, settings.plane_size, settings.plane_size),
        **_backbone(settings),
        "post_processor.upsample.weight": (settings.channels, settings.plane_channels, 2, 2),
        "post_processor.upsample.bias": (settings.plane_channels,),
        **_decoder(settings),
    }


def _linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _encoder(encoder: Encoder) -> dict[str, tuple[int, ...]]:
    width, inner = encoder.channels, encoder.inner
    patches = f"{VIT}.embeddings.patch_embeddings.projection"
    found = {
        f"{VIT}.embeddings.cls_token": (1, 1, width),
        f"{VIT}.embeddings.position_embeddings": (1, encoder.places, width),
        f"{patches}.weight": (width, 3, encoder.patch, encoder.patch),
        f"{patches}.bias": (width,),
        **_norm(f"{VIT}.layernorm", width),
        **_linear(f"{VIT}.pooler.dense", width, width),
    }
    for number in range(encoder.layers):
        layer = f"{VIT}.encoder.layer.{number}"
        for name in ("query", "key", "value"):
            found |= _linear(f"{layer}.attention.attention.{name}", width, width)
        found |= _linear(f"{layer}.attention.output.dense", width, width)
        found |= _linear(f"{layer}.intermediate.dense", inner, width)
        found |= _linear(f"{layer}.output.dense", width, inner)
        found |= _norm(f"{layer}.layernorm_before", width)
        found |= _norm(f"{layer}.layernorm_after", width)
    return found


def _backbone(settings: Settings) -> dict[str, tuple[int, ...]]:
    width, inner = settings.channels, settings.heads * settings.head_size
    found = {
        **_norm("backbone.norm", width),
        **_linear("backbone.proj_in", inner, width),
        **_linear("backbone.proj_out", width, inner),
    }
    for number in range(settings.layers):
        block = f"backbone.transformer_blocks.{number}"
        for name, context in (("attn1", inner), ("attn2", settings.context_channels)):
            found[f"{block}.{name}.to_q.weight"] = (inner, inner)
            found[f"{block}.{name}.to_k.weight"] = (inner, context)
            found[f"{block}.{name}.to_v.weight"] = (inner, context)
            found |= _linear(f"{block}.{name}.to_out.0", inner, inner)
        found |= _linear(f"{block}.ff.net.0.proj", 8 * inner, inner)
        found |= _linear(f"{block}.ff.net.2", inner, 4 * inner)
        for name in ("norm1", "norm2", "norm3"):
            found |= _norm(f"{block}.{name}", inner)
    return found


def _decoder(settings: Settings) -> dict[str, tuple[int, ...]]:
    width = settings.neurons
    found = _linear("decoder.layers.0", width, 3 * settings.plane_channels)
    for number in range(1, settings.hidden_layers):
        found |= _linear(f"decoder.layers.{2 * number}", width, width)
    return found | _linear(f"decoder.layers.{2 * settings.hidden_layers}", 4, width)
