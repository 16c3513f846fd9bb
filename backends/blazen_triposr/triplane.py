"""The backbone: a transformer that makes three planes of features of an image's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own documents call it

from blazen_triposr.pace import Pace
from blazen_triposr.parts import Part, attend
from blazen_triposr.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

_GROUP_EPS = 1e-6
_LAYER_EPS = 1e-5


def transform(
    part: Part, embeddings: Tensor, context: Tensor, settings: Settings, *, rows: int, pace: Pace
) -> Tensor:
    """Give the three planes, coarse: (3, channels, side, side), as the embeddings are.

    ``rows`` is how many tokens go through a layer at once: on a CPU a whole one takes so long that
    nobody would want to wait for its end.
    """
    planes, channels, side, _ = embeddings.shape
    tokens = embeddings.flatten(2).transpose(0, 1).reshape(1, channels, planes * side * side)
    x = F.group_norm(
        tokens, settings.groups, part["norm.weight"], part["norm.bias"], _GROUP_EPS
    ).transpose(1, 2)
    x = part.linear("proj_in", x)
    for number in range(settings.layers):
        block = part.within(f"transformer_blocks.{number}")
        normed = block.layer_norm("norm1", x, _LAYER_EPS)
        x += _attention(block.within("attn1"), normed, normed, settings.heads, rows, pace)
        normed = block.layer_norm("norm2", x, _LAYER_EPS)
        x += _attention(block.within("attn2"), normed, context, settings.heads, rows, pace)
        _feed_forward(block, x, rows, pace)
        pace.reach(number + 1)
    x = part.linear("proj_out", x).transpose(1, 2) + tokens
    return x.reshape(channels, planes, side, side).transpose(0, 1)


def upsample(part: Part, planes: Tensor) -> Tensor:
    """Double the side of the planes, and bring them to the channels of the field."""
    weight = part["weight"]
    # As a product and no convolution, which on a GPU would be rounded to ten bits.
    pixels = torch.matmul(planes.permute(0, 2, 3, 1), weight.flatten(1))
    pixels = pixels.reshape(*pixels.shape[:3], *weight.shape[1:]).permute(0, 3, 1, 4, 2, 5)
    return torch.add(pixels.flatten(4).flatten(2, 3), part["bias"][:, None, None])


def _attention(part: Part, x: Tensor, context: Tensor, heads: int, rows: int, pace: Pace) -> Tensor:
    key = part.linear("to_k", context)
    pace.check()
    value = part.linear("to_v", context)
    pieces = []
    for piece in torch.split(x, rows, dim=1):
        pace.check()
        seen = attend(part.linear("to_q", piece), key, value, heads)
        pieces.append(part.linear("to_out.0", seen))
    return torch.cat(pieces, dim=1)


def _feed_forward(block: Part, x: Tensor, rows: int, pace: Pace) -> None:
    """Add what two layers with a gate between them make of each token."""
    for piece in torch.split(x, rows, dim=1):
        pace.check()
        normed = block.layer_norm("norm3", piece, _LAYER_EPS)
        value, gate = block.linear("ff.net.0.proj", normed).chunk(2, dim=-1)
        piece += block.linear("ff.net.2", value * F.gelu(gate))
