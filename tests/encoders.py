"""Encoders as GGUF files: the starter's MiniLM, taken out of its ONNX file, and a made-up one.

No package carries an embedding model or a reranker as GGUF. The starter's weights are stored as
whole numbers and scales, so that they come out exactly as ONNX Runtime uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy

from tests.gguf_floats import write_gguf

POOLING = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}
ROLES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
}
_LETTERS = [chr(letter) for letter in range(33, 127) if not chr(letter).isupper()]
TINY_WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(*_LETTERS, *(f"##{letter}" for letter in _LETTERS)),
    *("heron", "fish", "eat", "the", "what"),
]
NORMS = {"attention.output.LayerNorm": "attn_output_norm", "output.LayerNorm": "layer_output_norm"}

_ONNX_TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?"}


def write_minilm(
    path: Path, folder: Path, pooling: str | None = "mean", *, head: bool = False
) -> Path:
    """Write the starter's embedding model; with ``head``, a made-up classifier stands behind it."""
    tensors = minilm_tensors(folder)
    if head:
        tensors |= made_up_head(384)
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")[:30522]
    write_gguf(path, bert_metadata(words, tensors, heads=12, pooling=pooling), tensors)
    return path


def write_tiny(
    path: Path,
    pooling: str | None = "rank",
    *,
    broken: bool = False,
    template: str | None = None,
    without: str | None = None,
    words: Sequence[str] = TINY_WORDS,
) -> Path:
    """Write a BERT of chance weights with a classifier: two layers of width 32.

    ``template`` says how a query and a document become one text; ``without`` leaves a tensor out.
    ``words`` is another vocabulary of the same size.
    """
    tensors = {name: values for name, values in tiny_tensors().items() if name != without}
    if broken:
        tensors["blk.1.ffn_up.bias"][:] = numpy.nan
    metadata = bert_metadata(list(words), tensors, heads=4, pooling=pooling)
    if template is not None:
        metadata["tokenizer.chat_template.rerank"] = template
    write_gguf(path, metadata, tensors)
    return path


def tiny_tensors() -> dict[str, Any]:
    chance = numpy.random.default_rng(7)
    width = 32

    def some(*shape: int) -> Any:
        return (chance.standard_normal(shape) * 0.3).astype("float32")

    tensors = {
        "token_embd.weight": some(len(TINY_WORDS), width),
        "position_embd.weight": some(64, width),
        "token_types.weight": some(2, width),
        "token_embd_norm.weight": 1 + some(width),
        "token_embd_norm.bias": some(width),
    }
    for layer in range(2):
        for role in ROLES.values():
            rows = 4 * width if role == "ffn_up" else width
            columns = 4 * width if role == "ffn_down" else width
            tensors[f"blk.{layer}.{role}.weight"] = some(rows, columns)
            tensors[f"blk.{layer}.{role}.bias"] = some(rows)
        for norm in NORMS.values():
            tensors[f"blk.{layer}.{norm}.weight"] = 1 + some(width)
            tensors[f"blk.{layer}.{norm}.bias"] = some(width)
    return tensors | made_up_head(width)


def tiny_score(query: str, document: str) -> float:
    """Compute with NumPy what the tiny model's classifier gives for a query and a document."""
    tensors = tiny_tensors()
    pair = f"[CLS] {query} [SEP] {document}"  # no SEP at its end: so llama.cpp builds it
    tokens = [token for word in pair.split() for token in _word_pieces(word)]
    state = tensors["token_embd.weight"][tokens] + tensors["token_types.weight"][0]
    state = _normed(state + tensors["position_embd.weight"][: len(tokens)], tensors, "token_embd")
    for layer in range(2):
        state = _layer(state, tensors, f"blk.{layer}", heads=4)
    hidden = numpy.tanh(tensors["cls.weight"] @ state[0] + tensors["cls.bias"])
    return float(tensors["cls.output.weight"][0] @ hidden + tensors["cls.output.bias"][0])


def _layer(state: Any, tensors: dict[str, Any], name: str, heads: int) -> Any:
    def through(role: str, rows: Any) -> Any:
        return rows @ tensors[f"{name}.{role}.weight"].T + tensors[f"{name}.{role}.bias"]

    def each_head(role: str) -> Any:
        return through(role, state).reshape(len(state), heads, -1).swapaxes(0, 1)

    scores = each_head("attn_q") @ each_head("attn_k").swapaxes(1, 2)
    scores = numpy.exp(scores / (state.shape[1] / heads) ** 0.5)
    seen = (scores / scores.sum(axis=2, keepdims=True)) @ each_head("attn_v")
    state = state + through("attn_output", seen.swapaxes(0, 1).reshape(state.shape))
    state = _normed(state, tensors, f"{name}.attn_output")
    wide = through("ffn_up", state)
    gelu = wide / 2 * (1 + numpy.tanh(0.7978845608 * (wide + 0.044715 * wide**3)))
    return _normed(state + through("ffn_down", gelu), tensors, f"{name}.layer_output")


def _normed(rows: Any, tensors: dict[str, Any], name: str) -> Any:
    centred = rows - rows.mean(axis=1, keepdims=True)
    scaled = centred / numpy.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    return scaled * tensors[f"{name}_norm.weight"] + tensors[f"{name}_norm.bias"]


def _word_pieces(word: str) -> list[int]:
    """Take the longest word that fits, again and again."""
    found: list[int] = []
    rest = word
    while rest:
        prefix = "##" if found else ""
        size = max(n for n in range(len(rest) + 1) if prefix + rest[:n] in (*TINY_WORDS, prefix))
        found.append(TINY_WORDS.index(prefix + rest[:size]))
        rest = rest[size:]
    return found


def made_up_head(width: int) -> dict[str, Any]:
    chance = numpy.random.default_rng(3)
    return {
        "cls.weight": chance.standard_normal((width, width)).astype("float32") * 0.2,
        "cls.bias": chance.standard_normal(width).astype("float32") * 0.2,
        "cls.output.weight": chance.standard_normal((1, width)).astype("float32") * 0.3,
        "cls.output.bias": numpy.asarray([0.25], "float32"),
    }


def bert_metadata(
    words: list[str], tensors: dict[str, Any], *, heads: int, pooling: str | None
) -> dict[str, Any]:
    special = {word: words.index(word) for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    pieces = [
        word if word in special else word[2:] if word.startswith("##") else "\u2581" + word
        for word in words
    ]
    metadata = {
        "general.architecture": "bert",
        "general.name": "an encoder",
        "bert.block_count": 1 + max(int(n.split(".")[1]) for n in tensors if n.startswith("blk.")),
        "bert.context_length": tensors["position_embd.weight"].shape[0],
        "bert.embedding_length": tensors["token_embd.weight"].shape[1],
        "bert.feed_forward_length": tensors["blk.0.ffn_up.bias"].shape[0],
        "bert.attention.head_count": heads,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": [3 if word in special else 1 for word in words],
        "tokenizer.ggml.bos_token_id": special["[CLS]"],
        "tokenizer.ggml.eos_token_id": special["[SEP]"],
        "tokenizer.ggml.cls_token_id": special["[CLS]"],
        "tokenizer.ggml.seperator_token_id": special["[SEP]"],
        "tokenizer.ggml.unknown_token_id": special["[UNK]"],
        "tokenizer.ggml.padding_token_id": special["[PAD]"],
        "tokenizer.ggml.mask_token_id": special["[MASK]"],
    }
    if pooling is not None:
        metadata["bert.pooling_type"] = POOLING[pooling]
    return metadata


def minilm_tensors(folder: Path) -> dict[str, Any]:
    """Take the weights out of the starter's ONNX file, under the names that GGUF has for them."""
    arrays, nodes = _read_onnx(folder / "model.onnx")

    def plain(name: str) -> Any:
        if name in arrays:
            return arrays[name]
        return arrays[f"{name}_q"].astype("float32") * arrays[f"{name}_scale"]

    made_by = {output: inputs for _, inputs, outputs in nodes for output in outputs}
    tensors = {
        "token_embd.weight": plain("inner.embeddings.word_embeddings.weight"),
        "position_embd.weight": plain("inner.embeddings.position_embeddings.weight"),
        "token_types.weight": plain("inner.embeddings.token_type_embeddings.weight"),
        "token_embd_norm.weight": plain("inner.embeddings.LayerNorm.weight"),
        "token_embd_norm.bias": plain("inner.embeddings.LayerNorm.bias"),
    }
    for operation, inputs, _ in nodes:
        bias = next((name for name in inputs if name.endswith(".bias")), "")
        layer, _, role = bias.removeprefix("inner.encoder.layer.").partition(".")
        role = role.removesuffix(".bias")
        if operation == "Add" and role in ROLES:
            product = made_by[next(name for name in inputs if name != bias)]
            name = f"blk.{layer}.{ROLES[role]}"
            tensors[f"{name}.weight"] = plain(product[1]).T
            tensors[f"{name}.bias"] = arrays[bias]
        elif role in NORMS:
            name = f"blk.{layer}.{NORMS[role]}"
            tensors[f"{name}.weight"] = arrays[bias.removesuffix("bias") + "weight"]
            tensors[f"{name}.bias"] = arrays[bias]
    return tensors


def _read_onnx(path: Path) -> tuple[dict[str, Any], list[tuple[str, list[str], list[str]]]]:
    """Read the arrays and the nodes (operation, inputs, outputs) of an ONNX file."""
    graph = next(value for field, value in _fields(path.read_bytes()) if field == 7)
    arrays: dict[str, Any] = {}
    nodes = []
    for field, value in _fields(graph):
        parts = list(_fields(value)) if field in (1, 5) else []
        if field == 5:
            shape = [part for number, part in parts if number == 1]
            found = {number: part for number, part in parts if number in (2, 8, 9)}
            data = numpy.frombuffer(found.get(9, b""), _ONNX_TYPES[found[2]])
            arrays[found[8].decode()] = data.reshape(shape)
        elif field == 1:
            texts = {n: [p.decode() for m, p in parts if m == n] for n in (1, 2, 4)}
            nodes.append((texts[4][0], texts[1], texts[2]))
    return arrays, nodes


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Go through the fields of a protobuf message."""
    place = 0

    def number() -> int:
        nonlocal place
        total = shift = 0
        while True:
            byte = message[place]
            place += 1
            total |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return total

    while place < len(message):
        key = number()
        kind = key & 7
        if kind == 0:
            yield key >> 3, number()
            continue
        size = {1: 8, 5: 4}.get(kind) or number()
        yield key >> 3, message[place : place + size]
        place += size
