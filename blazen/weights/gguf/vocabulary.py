"""Whether a file's vocabulary is one that llama.cpp can live with, and how much a token can say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from blazen.errors import ContextLengthError, LoadError
from blazen.weights.gguf.array import GgufArray
from blazen.weights.gguf.model import GgufFile


def check_vocabulary(gguf: GgufFile) -> None:
    """Refuse a file in which a token stands twice: llama.cpp ends the whole process at one."""
    tokens = gguf.metadata.get("tokenizer.ggml.tokens", ())
    if not isinstance(tokens, (tuple, GgufArray)):
        return
    texts = [token for token in tokens if token]  # it gives the empty ones names of their own
    if len(set(texts)) == len(texts):
        return
    twice, count = Counter(texts).most_common(1)[0]
    raise LoadError(
        f"{gguf.path.name} has the token {twice!r:.60} {count} times in its vocabulary: the file "
        "is broken, fetch or convert it again"
    )


_PLENTY = 16
"""More characters a token than any text has: up to that, nothing needs to be looked up."""

_LITERAL = ("gpt2", "llama")
"""The tokenizers that leave nothing of a text out, so that its length tells of its tokens."""


def check_room(characters: int, limit: int, longest: Callable[[], int]) -> None:
    """Refuse a text that has no room in the context whatever its tokens are.

    Splitting twenty million characters into tokens takes a minute and gigabytes, and can't be
    stopped. ``longest`` gives the most characters that a token stands for; 0 where none is known.
    """
    if characters <= limit * _PLENTY:
        return
    most = longest()
    if most and characters > limit * most:
        raise ContextLengthError(
            f"the prompt has {characters:,} characters and the context holds {limit} tokens, which "
            f"stand for {limit * most:,} at the very most: shorten it, or load the model with a "
            "larger context_length",
            limit=limit,
        )


def longest_token(gguf: GgufFile) -> int:
    """Give the most characters that one token stands for; 0 where a text may lose some unseen."""
    tokens = gguf.metadata.get("tokenizer.ggml.tokens", ())
    if gguf.metadata.get("tokenizer.ggml.model") not in _LITERAL:
        return 0
    return max((len(token) for token in tokens if isinstance(token, str)), default=0)
