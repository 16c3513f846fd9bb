"""Tensors by their published names, and the layers that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own documents call it

from blazen.errors import InferenceError

if TYPE_CHECKING:
    from torch import Tensor


class Part:
    """The tensors of one part of a network: those whose names begin alike.

    There are no modules here, so that nothing has to be built before weights can be used.
    """

    __slots__ = ("_prefix", "_tensors")

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def within(self, name: str) -> Part:
        """Give a part of this part."""
        return Part(self._tensors, f"{self._prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._prefix + name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Go through a linear layer, with or without a bias."""
        bias = self._tensors.get(f"{self._prefix}{name}.bias")
        return F.linear(x, self[f"{name}.weight"], bias)

    def layer_norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        """Bring each token to mean 0 and deviation 1, then to what was learned."""
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)


def no_numbers(dtype: torch.dtype) -> InferenceError:
    """Word the error for values that became infinite, or none at all, on their way."""
    hint = "" if dtype == torch.float32 else ": dtype='float32' has more room"
    return InferenceError(f"the network gave numbers that are none, in {str(dtype)[6:]}{hint}")


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Have each token of the query look at those of the key: all of shape (1, tokens, channels)."""
    q, k, v = (x.reshape(1, x.shape[1], heads, -1).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
