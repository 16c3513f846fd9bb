"""Small networks of chance weights as ONNX files, with the inputs and outputs of real ones.

No package carries weights of these kinds. So the files are made here: one layer of a real BERT,
with its attention, or one convolution for pictures. `TinyBert` computes the same with NumPy, a
text at a time and without any padding, so that what batches do to it can be told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(letter) for letter in range(33, 127) if not chr(letter).isupper()]
WORDS = ["heron", "fish", "eat", "the", "what", "bread", "bak", "##ing", "##s"]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
WIDTH, HEADS, LONGEST = 16, 2, 64
SIDE, PATCH, CHANNELS, PICTURE_WIDTH = 32, 8, 6, 12
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def write_tokenizer(folder: Path, longest: int = LONGEST) -> None:
    """Write a WordPiece tokenizer as BERT has it, and the settings that lie beside it."""
    vocabulary = {word: place for place, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {name.strip("[]").lower() + "_token": name for name in (*SPECIAL[:1], *SPECIAL[3:])}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"model_max_length": longest, "pad_token": "[PAD]"}
    sizes = {
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "intermediate_size": WIDTH,
        "max_position_embeddings": longest,
        "vocab_size": len(VOCABULARY),
        "pad_token_id": 0,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    (folder / "config.json").write_text(json.dumps(sizes))


class TinyBert:
    """One layer of attention, and a head on it: what it computes, and the file that does the same.

    ``head`` is how many numbers stand behind each token (or with ``first``, behind the first one).
    """

    def __init__(self, head: int, *, first: bool = False, seed: int = 0) -> None:
        chance = numpy.random.default_rng(seed)

        def weights(*shape: int) -> Any:
            return chance.normal(0, 0.6, shape).astype("float32")

        self.first = first
        self.tensors = {
            "words": weights(len(VOCABULARY), WIDTH),
            "types": weights(2, WIDTH),
            "places": weights(2 * LONGEST, WIDTH),
            **{name: weights(WIDTH, WIDTH) for name in ("query", "key", "value", "dense")},
            "head": weights(WIDTH, head),
        }

    def attention(self, ids: Sequence[int], types: Sequence[int] | None = None) -> Any:
        """Give what each head of attention makes of each token: (heads, tokens, tokens)."""
        x = self._embedded(ids, types)
        size = WIDTH // HEADS
        found = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            query = (x @ self.tensors["query"])[:, part]
            key = (x @ self.tensors["key"])[:, part]
            likeness = numpy.exp(query @ key.T / numpy.sqrt(size))
            found.append(likeness / likeness.sum(axis=1, keepdims=True))
        return numpy.stack(found)

    def output(self, ids: Sequence[int], types: Sequence[int] | None = None) -> Any:
        """Give the numbers of the head for one text."""
        x, size = self._embedded(ids, types), WIDTH // HEADS
        values = x @ self.tensors["value"]
        parts = [
            weights @ values[:, head * size : (head + 1) * size]
            for head, weights in enumerate(self.attention(ids, types))
        ]
        hidden = numpy.tanh(numpy.hstack(parts) @ self.tensors["dense"] + x)
        return (hidden[0] if self.first else hidden) @ self.tensors["head"]

    def output_of_one(self, ids: Sequence[int], place: int, seen: int) -> Any:
        """Give the numbers of one token that looks at no more than the first so many."""
        x, size = self._embedded(ids, None), WIDTH // HEADS
        query, keys, values = (
            x[place] @ self.tensors["query"],
            x[:seen] @ self.tensors["key"],
            x[:seen] @ self.tensors["value"],
        )
        parts = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            likeness = numpy.exp(keys[:, part] @ query[part] / numpy.sqrt(size))
            parts.append(likeness / likeness.sum() @ values[:, part])
        hidden = numpy.tanh(numpy.hstack(parts) @ self.tensors["dense"] + x[place])
        return hidden @ self.tensors["head"]

    def _embedded(self, ids: Sequence[int], types: Sequence[int] | None) -> Any:
        kinds = [0] * len(ids) if types is None else types
        places = self.tensors["places"][: len(ids)]
        return self.tensors["words"][list(ids)] + self.tensors["types"][list(kinds)] + places

    def write(
        self, folder: Path, *, output: str, file: str = "model.onnx", types: bool = True
    ) -> Path:
        """Write the ONNX file and its tokenizer; ``output`` is the name of what it gives.

        ColBERT's files take no ``types``: each token is of the first one.
        """
        write_tokenizer(folder)
        size = WIDTH // HEADS
        constants = {
            "zero": numpy.array(0, "int64"),
            "one": numpy.array(1, "int64"),
            "one_float": numpy.array(1, "float32"),
            "far": numpy.array(-1e4, "float32"),
            "root": numpy.array(numpy.sqrt(size), "float32"),
            "split": numpy.array([0, 0, HEADS, size], "int64"),
            "joined": numpy.array([0, 0, WIDTH], "int64"),
            "axes": numpy.array([1, 2], "int64"),
        }
        nodes: list[Any] = []

        def node(kind: str, inputs: Sequence[str], name: str, **settings: Any) -> str:
            nodes.append(helper.make_node(kind, list(inputs), [name], **settings))
            return name

        node("Gather", ["words", "input_ids"], "embedded")
        given = ["input_ids", "attention_mask"] + ["token_type_ids"] * types
        node("Gather", ["types", "token_type_ids" if types else "zero"], "kinds")
        node("Shape", ["input_ids"], "shape")
        node("Gather", ["shape", "one"], "length")
        node("Range", ["zero", "length", "one"], "range")
        node("Gather", ["places", "range"], "placed")
        node("Add", ["embedded", "kinds"], "typed")
        x = node("Add", ["typed", "placed"], "x")
        for name, turned in (
            ("query", (0, 2, 1, 3)),
            ("key", (0, 2, 3, 1)),
            ("value", (0, 2, 1, 3)),
        ):
            node("MatMul", [x, name], f"{name}_flat")
            node("Reshape", [f"{name}_flat", "split"], f"{name}_split")
            node("Transpose", [f"{name}_split"], f"{name}_turned", perm=turned)
        node("MatMul", ["query_turned", "key_turned"], "product")
        node("Div", ["product", "root"], "scaled")
        node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        node("Sub", ["one_float", "mask"], "absent")
        node("Mul", ["absent", "far"], "hidden_away")
        node("Unsqueeze", ["hidden_away", "axes"], "bias")
        node("Add", ["scaled", "bias"], "masked")
        node("Softmax", ["masked"], "attention_6", axis=-1)
        node("MatMul", ["attention_6", "value_turned"], "mixed")
        node("Transpose", ["mixed"], "mixed_turned", perm=(0, 2, 1, 3))
        node("Reshape", ["mixed_turned", "joined"], "context")
        node("MatMul", ["context", "dense"], "projected")
        node("Add", ["projected", x], "summed")
        last = node("Tanh", ["summed"], "hidden")
        if self.first:
            last = node("Gather", [last, "zero"], "pooled", axis=1)
        if output != "attention_6":
            node("MatMul", [last, "head"], output)
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in given
        ]
        wide = self.tensors["head"].shape[1]
        shapes: list[Any] = ["batch", wide] if self.first else ["batch", "tokens", wide]
        if output == "attention_6":
            shapes = ["batch", HEADS, "tokens", "tokens"]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shapes)]
        _save(folder / file, nodes, inputs, outputs, self.tensors | constants)
        return folder


class TinyVision:
    """One convolution and a projection: what it computes, and the file that does the same."""

    def __init__(self, seed: int = 0) -> None:
        chance = numpy.random.default_rng(seed)
        self.kernel = chance.normal(0, 0.2, (CHANNELS, 3, PATCH, PATCH)).astype("float32")
        cells = (SIDE // PATCH) ** 2 * CHANNELS
        self.head = chance.normal(0, 0.5, (cells, PICTURE_WIDTH)).astype("float32")

    def output(self, pixels: Any) -> Any:
        """Give the vector of pixels of shape (3, side, side), of length 1."""
        across = SIDE // PATCH
        patches = pixels.reshape(3, across, PATCH, across, PATCH)
        found = numpy.einsum("caibj,kcij->kab", patches, self.kernel)
        vector = numpy.maximum(found, 0).reshape(-1) @ self.head
        return vector / numpy.linalg.norm(vector)

    def write(self, folder: Path, file: str = "model.onnx", **settings: Any) -> Path:
        """Write the ONNX file and how pictures are prepared for it."""
        folder.mkdir(parents=True, exist_ok=True)
        prepared = {
            "do_resize": True,
            "size": {"shortest_edge": SIDE},
            "do_center_crop": True,
            "crop_size": {"height": SIDE, "width": SIDE},
            "do_normalize": True,
            "image_mean": MEAN,
            "image_std": STD,
            "image_processor_type": "CLIPImageProcessor",
            **settings,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
        nodes = [
            helper.make_node("Conv", ["pixel_values", "kernel"], ["patches"], strides=[PATCH] * 2),
            helper.make_node("Relu", ["patches"], ["active"]),
            helper.make_node("Flatten", ["active"], ["flat"]),
            helper.make_node("MatMul", ["flat", "head"], ["image_embeds"]),
        ]
        picture = ["batch", 3, SIDE, SIDE]
        inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, picture)]
        outputs = [
            helper.make_tensor_value_info(
                "image_embeds", TensorProto.FLOAT, ["batch", PICTURE_WIDTH]
            )
        ]
        _save(folder / file, nodes, inputs, outputs, {"kernel": self.kernel, "head": self.head})
        return folder


def _save(path: Path, nodes: Any, inputs: Any, outputs: Any, tensors: dict[str, Any]) -> None:
    stored = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
