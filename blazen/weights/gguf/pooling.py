"""Which GGUF models give vectors and which rank documents, and how long a text they read."""

from __future__ import annotations

import math

from blazen.errors import ContextLengthError, UnsupportedError, ValidationError
from blazen.weights.gguf.model import GgufFile

POOLINGS = ("none", "mean", "cls", "last", "rank")
"""How token vectors become one, in the order of llama.cpp's numbers for them."""

_CLASSIFIER = ("cls.output.weight", "cls.weight")
_SHORTEST = 512
# Their graph ends in a softmax over "yes" and "no"; every other classifier gives a bare number.
_PROBABILITIES = ("qwen3", "qwen3vl")


def choose_pooling(gguf: GgufFile, wanted: str | None) -> str:
    """Give how this model pools: as asked for, else as the file says; one of them must say it."""
    if wanted is not None:
        return wanted
    said = gguf.whole("pooling_type")
    name = POOLINGS[said] if said is not None and said < len(POOLINGS) else "none"
    if name == "rank":
        raise UnsupportedError(
            f"{gguf.path.name} is a reranker: it gives scores and no vectors, see Reranker"
        )
    if name == "none":
        raise ValidationError(
            f"{gguf.path.name} does not say how the vectors of its tokens become one, as embedding "
            "models do: give pooling='mean', 'cls' or 'last' (for a chat model, 'mean' or 'last')"
        )
    return name


def check_reranker(gguf: GgufFile) -> None:
    """Refuse a model without a classifier of one score: engines would crash, or rank by chance."""
    tensors = {tensor.name: tensor for tensor in gguf.tensors}
    last = next((tensors[name] for name in _CLASSIFIER if name in tensors), None)
    if last is None:
        raise UnsupportedError(
            f"{gguf.path.name} is no reranker: it has no classifier ({_CLASSIFIER[0]}). Use a "
            "model such as bge-reranker, or compare vectors (EmbeddingModel)"
        )
    labels = last.shape[1] if len(last.shape) > 1 and last.name == _CLASSIFIER[0] else 1
    if labels != 1 and gguf.architecture not in _PROBABILITIES:
        raise UnsupportedError(
            f"{gguf.path.name} sorts texts into {labels} classes: a reranker gives one score"
        )


def relevance(gguf: GgufFile, number: float) -> float:
    """Turn what the engine gives for a document into a score from 0 to 1.

    A classifier's number goes through the sigmoid, as it does in training; what is a probability
    already stays as it is.
    """
    if gguf.architecture in _PROBABILITIES or math.isnan(number):
        return number
    # Of the two forms of the sigmoid, the one whose power can't overflow.
    small = math.exp(-abs(number))
    return 1 / (1 + small) if number >= 0 else small / (1 + small)


def longest_text(gguf: GgufFile, max_length: int | None) -> int:
    """Give how many tokens a text may have; more than the model knows is refused."""
    known = gguf.context_length
    if max_length is not None and known is not None and max_length > known:
        raise ValidationError(
            f"max_length is {max_length}, and {gguf.path.name} reads at most {known} tokens: ask "
            "for that or less"
        )
    return max_length or known or _SHORTEST


def too_long(what: str, tokens: int, limit: int) -> ContextLengthError:
    """Give the error for a text that would have to be cut."""
    return ContextLengthError(
        f"{what} has {tokens} tokens, and the model reads {limit} at once: shorten or split it",
        tokens=tokens,
        limit=limit,
    )
