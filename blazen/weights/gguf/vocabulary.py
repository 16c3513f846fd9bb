"""Whether a file's vocabulary is one that llama.cpp can live with."""

from __future__ import annotations

from collections import Counter

from blazen.errors import LoadError
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
