"""The encoder: DINO's vision transformer, from an image to one token for each patch of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own documents call it

from blazen_triposr.pace import Pace
from blazen_triposr.parts import Part, attend

if TYPE_CHECKING:
    from torch import Tensor

_EPS = 1e-12


def encode(part: Part, pixels: Tensor, *, layers: int, heads: int, rows: int, pace: Pace) -> Tensor:
    """Give the tokens of an image, the one for the whole first: (1, 1 + patches, channels).

    ``rows`` is how many tokens go through a wide layer at once.
    """
    embeddings = part.within("embeddings")
    projection = embeddings.within("patch_embeddings.projection")
    weight = projection["weight"]
    side = pixels.shape[-1] // weight.shape[-1]
    # As a product and no convolution, which on a GPU would be rounded to ten bits.
    patches = pixels.reshape(1, 3, side, -1, side, weight.shape[-1]).permute(0, 2, 4, 1, 3, 5)
    patches = F.linear(patches.reshape(1, side * side, -1), weight.flatten(1), projection["bias"])
    x = torch.cat([embeddings["cls_token"], patches], dim=1)
    x = x + positions(embeddings["position_embeddings"], side, side)
    for number in range(layers):
        layer = part.within(f"encoder.layer.{number}")
        attention = layer.within("attention.attention")
        normed = layer.layer_norm("layernorm_before", x, _EPS)
        query = attention.linear("query", normed)
        pace.check()
        key, value = attention.linear("key", normed), attention.linear("value", normed)
        pace.check()
        x = x + layer.linear("attention.output.dense", attend(query, key, value, heads))
        for piece in torch.split(x, rows, dim=1):
            pace.check()
            normed = layer.layer_norm("layernorm_after", piece, _EPS)
            hidden = F.gelu(layer.linear("intermediate.dense", normed))
            piece += layer.linear("output.dense", hidden)
        pace.reach(number + 1)
    return part.layer_norm("layernorm", x, _EPS)


def positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Stretch the positions that were learned for a smaller image; the first token keeps its own.

    The factor is of a side that is a tenth of a patch longer: so the network was trained.
    """
    count, channels = table.shape[1] - 1, table.shape[2]
    side = round(count**0.5)
    if rows == columns == side:
        return table
    grid = table[:, 1:].reshape(1, side, side, channels).permute(0, 3, 1, 2)
    stretched = F.interpolate(
        grid.float(),
        scale_factor=((rows + 0.1) / side, (columns + 0.1) / side),
        mode="bicubic",
        align_corners=False,
    )
    tokens = stretched.to(table.dtype).permute(0, 2, 3, 1).reshape(1, -1, channels)
    return torch.cat([table[:, :1], tokens], dim=1)
