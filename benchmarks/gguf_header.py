"""How long reading a GGUF header takes, against the ``gguf`` package's reader."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = 7
THEIR_ROUNDS = 3  # a round takes them seconds
SPARSE_BYTES = 40 * 2**30


def run() -> dict[str, Any]:
    """Read each starter's header by both in turns; then one whose weights are a hole of 40 GB."""
    from blazen.weights.starter import starter_path

    figures: dict[str, Any] = {}
    for name in ("chat", "text"):
        path = starter_path(name)
        figures[f"starter_{name}"] = _compare(path)
    figures["sparse_40_gb_ms"] = _sparse(starter_path("chat"))
    figures["rounds"] = ROUNDS
    figures["gguf_package_rounds"] = THEIR_ROUNDS
    return figures


def _compare(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    from blazen.weights.gguf import read_gguf

    file = read_gguf(path)
    ours: list[float] = []
    with_tokens: list[float] = []
    theirs: list[float] = []
    for turn in range(ROUNDS):
        ours.append(_ms(lambda: read_gguf(path)))
        with_tokens.append(_ms(lambda: list(read_gguf(path).metadata["tokenizer.ggml.tokens"])))
        if turn < THEIR_ROUNDS:
            theirs.append(_ms(lambda: GGUFReader(path)))
    return {
        "blazen_ms": statistics.median(ours),
        "blazen_with_every_token_decoded_ms": statistics.median(with_tokens),
        "gguf_package_ms": statistics.median(theirs),
        "ratio_to_gguf_package": statistics.median(ours) / statistics.median(theirs),
        "ratio_with_every_token_decoded": statistics.median(with_tokens)
        / statistics.median(theirs),
        "tokens": file.vocab_size,
        "tensors": len(file.tensors),
        "header_bytes": file.data_offset,
    }


def _sparse(path: Path) -> float:
    """Time a real header in a file whose last tensor's place is 40 GB away."""
    from blazen.weights.gguf import read_gguf

    header = bytearray(path.read_bytes()[: read_gguf(path).data_offset])
    last = max(read_gguf(path).tensors, key=lambda tensor: tensor.offset)
    name = last.name.encode()
    at = header.rindex(len(name).to_bytes(8, "little") + name) + 8 + len(name)
    at += 4 + 8 * len(last.shape) + 4
    header[at : at + 8] = SPARSE_BYTES.to_bytes(8, "little")
    descriptor, place = tempfile.mkstemp(suffix=".gguf")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(header)
            file.truncate(len(header) + SPARSE_BYTES + last.nbytes)
        return statistics.median(_ms(lambda: read_gguf(place)) for _ in range(ROUNDS))
    finally:
        Path(place).unlink()


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3
