"""The explorer's routes, beside what the ``gguf`` package and llama.cpp read of the same files."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import numpy as np
import pytest

from blazen.weights.starter import starter_path
from tests.server.conftest import RunningServer, read_catalog, running

pytestmark = pytest.mark.needs(
    "server", "clients", "xllamacpp", "llamacpp", "starter:chat", "starter:text", "starter:embed"
)

MODELS = """
[discover]
starters = false
cache = false
programs = false

[models.chat]
spec = "xllamacpp:starter:chat"

[models.base]
spec = "xllamacpp:starter:text"

[models.embed]
spec = "fastembed:starter:embed"
kind = "embedding"
"""

TEXTS = [
    "Hello wörld, how are you? 😀",
    "<|im_start|>user\nWhat?<|im_end|>",
    "  two spaces\tand\na tab 1234567",
    "naïve façade – “quotes” 東京",
    "",
]


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory):
    with running(read_catalog(tmp_path_factory.mktemp("explored"), MODELS)) as server:
        yield server


@pytest.fixture(scope="module")
def ask(explored: RunningServer):
    with httpx.Client(base_url=f"{explored.url}/api/explorer", timeout=120) as client:

        def post(path, **body):
            answer = client.post(f"/{path}", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield post


def path_of(name: str) -> Path:
    return starter_path("chat" if name == "chat" else "text")


@pytest.fixture(scope="module", params=["chat", "base"])
def matrix(request: pytest.FixtureRequest):
    """A model's name and the vectors of its tokens, as the ``gguf`` package reads all of them."""
    import gguf
    from gguf.quants import dequantize

    reader = gguf.GGUFReader(path_of(request.param))
    tensor = next(one for one in reader.tensors if one.name == "token_embd.weight")
    return request.param, dequantize(tensor.data, tensor.tensor_type)


def llama_tokens(name: str, text: str):
    """What llama-cpp-python itself makes of a text: numbers, and the bytes of each."""
    import llama_cpp

    model = llama_cpp.Llama(str(path_of(name)), vocab_only=True, verbose=False)
    try:
        numbers = model.tokenize(text.encode(), add_bos=False, special=True)
        return numbers, [model.detokenize([n], special=True) for n in numbers]
    finally:
        model.close()


def shown(piece: bytes) -> str:
    """A piece as it is to be written: bytes that are a part of a character by their numbers."""
    text = piece.decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda found: f"<0x{ord(found[0]) - 0xDC00:02X}>", text)


def test_a_file_is_described(explored):
    import gguf

    answer = httpx.get(f"{explored.url}/api/explorer/model", params={"model": "chat"})
    assert answer.status_code == 200
    told, reader = answer.json(), gguf.GGUFReader(path_of("chat"))
    assert [(t["name"], t["dtype"], t["shape"], t["bytes"]) for t in told["tensors"]] == [
        (t.name, t.tensor_type.name, [int(n) for n in t.shape], int(t.n_bytes))
        for t in reader.tensors
    ]
    assert told["file"]["parameters"] == sum(int(t.n_elements) for t in reader.tensors)
    assert told["file"]["size"] == path_of("chat").stat().st_size
    assert told["file"]["quantization"] == "Q4_1"
    assert told["metadata"]["general.architecture"] == "llama"
    assert told["metadata"]["tokenizer.ggml.tokens"] == {"array": "string", "count": 49_152}
    assert told["can"] == ["tokenize", "vector", "neighbors", "prompt"]
    installed = {one["name"] for one in told["backends"] if one["installed"]}
    assert {"xllamacpp", "llamacpp"} <= installed
    assert told["estimate"]["ram"]["weights"] > 90_000_000
    assert told["estimate"]["context_length"] == 4096
    assert str(path_of("chat").parent) not in answer.text


@pytest.mark.parametrize("name", ["chat", "base"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_split_as_llama_cpp_splits_it(ask, name, text):
    numbers, pieces = llama_tokens(name, text)
    tokens = ask("tokenize", model=name, text=text)["tokens"]
    assert [token["id"] for token in tokens] == numbers
    for token, piece in zip(tokens, pieces, strict=True):
        assert token["text"] == shown(piece)
    if "<|im_start|>" in text and name == "chat":
        assert tokens[0] == {"id": 1, "text": "<|im_start|>", "kind": "control"}


def test_vectors_are_those_of_the_file(ask, matrix):
    name, rows = matrix
    for token in (0, 1, 1000, len(rows) - 1):
        told = ask("vector", model=name, token=token)
        assert told["token"]["id"] == token
        np.testing.assert_array_equal(np.asarray(told["vector"], np.float32), rows[token])
        assert told["norm"] == pytest.approx(float(np.linalg.norm(rows[token])), rel=1e-5)


def test_neighbours_are_those_that_brute_force_finds(ask, matrix):
    name, rows = matrix
    lengths = np.linalg.norm(rows, axis=1)
    for token in (1000, 4321):
        cosines = rows @ rows[token] / np.maximum(lengths * lengths[token], 1e-30)
        cosines[token] = -3
        cosines[lengths == 0] = -3
        wanted = np.argsort(-cosines)[:12]
        told = ask("neighbors", model=name, token=token, count=12)
        assert told["token"]["id"] == token
        found = [near["similarity"] for near in told["neighbors"]]
        assert found == pytest.approx([float(cosines[one]) for one in wanted], abs=1e-5)
        # Those that are all but equally near may change places.
        assert len({near["id"] for near in told["neighbors"]} & set(wanted.tolist())) >= 11
        assert found == sorted(found, reverse=True)


def test_a_token_is_found_by_its_text(ask):
    for text in (" Paris", "Hello", "<|im_end|>"):
        told = ask("vector", model="chat", token=text)["token"]
        assert told["text"] == text
        assert [told["id"]] == [t["id"] for t in ask("tokenize", model="chat", text=text)["tokens"]]
    near = ask("neighbors", model="base", token=" Paris", count=40)["neighbors"]
    assert {" London", "Paris", " Berlin"} & {one["text"] for one in near}


def test_a_conversation_is_written_as_the_template_does(ask):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
    ]
    told = ask("prompt", model="chat", messages=messages)
    assert told["prompt"] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert "im_start" in told["template"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("vector", {"model": "chat", "token": 49_152}, 400, "the vocabulary ends at 49151"),
        ("vector", {"model": "chat", "token": -1}, 400, "token"),
        ("vector", {"model": "chat", "token": True}, 400, "token"),
        ("vector", {"model": "chat", "token": "xyzzy plugh"}, 400, "no single token"),
        ("vector", {"model": "embed", "token": 1}, 400, "no GGUF file"),
        ("vector", {"model": "/etc/passwd", "token": 1}, 404, "no model"),
        ("tokenize", {"model": "../chat.gguf", "text": "x"}, 404, "no model"),
        ("tokenize", {"model": "starter:text", "text": "x" * 100_001}, 400, "text"),
        ("neighbors", {"model": "chat", "token": 1, "count": 5000}, 400, "count"),
        ("prompt", {"model": "base", "messages": [{"role": "user", "content": "x"}]}, 400,
         "no chat template"),
        ("prompt", {"model": "chat", "messages": []}, 400, "messages must not be empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_into_is_refused(explored, path, body, status, words):
    answer = httpx.post(f"{explored.url}/api/explorer/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]
    assert answer.json()["error"]["status"] == status


def test_a_base_model_and_one_of_onnx_say_what_can_be_seen(explored):
    base = httpx.get(f"{explored.url}/api/explorer/model", params={"model": "base"}).json()
    assert "prompt" not in base["can"]
    assert base["file"]["chat_template"] is False
    other = httpx.get(f"{explored.url}/api/explorer/model", params={"model": "embed"})
    assert other.status_code == 400
    first = httpx.get(f"{explored.url}/api/explorer/model").json()
    assert first["model"] == "chat"


def test_a_search_ends_when_nobody_waits_for_it():
    import threading

    from blazen.server.apis.native.explorer.vectors import Rows, Stopped
    from blazen.weights.gguf import read_gguf

    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Stopped):
        Rows(read_gguf(path_of("chat"))).nearest(5, 3, stopped)
