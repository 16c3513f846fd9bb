"""``blazen inspect``: a model's own words, and what they mean for this machine."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from blazen.weights.gguf import estimate_memory, read_gguf
from blazen.weights.starter import starter_path
from tests.catalog.files import chat_gguf, embedding_gguf, hub_repo, rerank_gguf
from tests.cli.conftest import Cli
from tests.cli.machine import empty_home, in_a_process, json_of
from tests.weights.gguf_files import Maker, Tensor
from tests.weights.servers import Hub, standing_in

pytestmark = pytest.mark.needs("cli", "xllamacpp", "llamacpp", "mistralrs", "starter:chat")


@pytest.fixture(autouse=True)
def home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_home(tmp_path, monkeypatch)


def safetensors(path: Path, **tensors: tuple[int, ...]) -> Path:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors.items():
        size = 4 * shape[0] * shape[1]
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * at)
    return path


def test_a_real_model_in_json(cli: Cli) -> None:
    found = json_of(cli("inspect", "starter:chat", "--json", "--ctx", "2048"))
    gguf = read_gguf(starter_path("chat"))
    assert found["name"] == "starter:chat"
    assert (found["kind"], found["form"], found["size"]) == ("model", "gguf", 98_362_432)
    facts = found["facts"]
    assert (facts["architecture"], facts["quantization"]) == ("llama", "Q4_1")
    assert (facts["parameters"], facts["layers"]) == (134_515_008, 30)
    assert (facts["context_length"], facts["vocabulary"]) == (8192, 49_152)
    assert facts["chat_template"] is True
    assert facts["tensors"] == len(gguf.tensors) == 272
    assert "tensors" not in found
    assert found["metadata"]["tokenizer.ggml.pre"] == "smollm"
    (estimate,) = found["estimates"]
    expected = estimate_memory(gguf, context_length=2048)
    assert estimate["total"] == expected.total
    assert estimate["ram"]["kv_cache"] == expected.ram.kv_cache == 2048 * 30 * 3 * 64 * 2 * 2
    chats = {one["backend"]: one for one in found["backends"] if one["kind"] == "model"}
    assert list(chats) == ["xllamacpp", "llamacpp", "mistralrs"]
    assert all(one["opens"] for one in chats.values())
    assert [name for name, one in chats.items() if one["chosen"]] == ["xllamacpp"]
    assert [one["opens"] for one in found["backends"] if one["kind"] == "rerank"] == [False, False]


def test_each_context_with_each_number_of_layers(cli: Cli) -> None:
    found = json_of(
        cli(
            *("inspect", "chat", "--json", "--kv-type", "q8_0"),
            *("--context", "1024", "--context", "8192", "--gpu-layers", "0", "--gpu-layers", "-1"),
        )
    )["estimates"]
    assert [(one["context_length"], one["gpu_layers"]) for one in found] == [
        (1024, 0),
        (1024, 31),
        (8192, 0),
        (8192, 31),
    ]
    assert found[0]["vram"]["total"] == 0
    assert found[1]["vram"]["weights"] > 90_000_000
    # Eight times as long takes eight times the cache, at 34 bytes for 32 numbers.
    assert found[2]["ram"]["kv_cache"] == 8 * found[0]["ram"]["kv_cache"]
    assert found[0]["ram"]["kv_cache"] == 1024 * 30 * 3 * 64 * 2 * 34 // 32


def test_tensors_are_listed_when_asked_for(cli: Cli, home: Path) -> None:
    chat_gguf(home / "models" / "mine.gguf")
    plain = cli("inspect", "mine")
    assert "1 tensors: --tensors lists them" in plain.stderr
    assert "token_embd.weight" not in plain.stdout
    assert "token_embd.weight\tF32\t32 x 2\t256" in cli("inspect", "mine", "--tensors").stdout
    tensors = json_of(cli("inspect", "mine", "--tensors", "--json"))["tensors"]
    assert tensors[0]["name"] == "token_embd.weight"
    assert (tensors[0]["shape"], tensors[0]["nbytes"]) == ([32, 2], 256)


def test_the_text_says_it_to_people(cli: Cli, home: Path) -> None:
    chat_gguf(home / "a.gguf", **{"general.notes": "x" * 300 + "\x1b[31m"})
    text = cli("inspect", "a.gguf").stdout
    for line in (
        "model\ta",
        "kind\tchat",
        "architecture\tllama",
        "chat template\tno",
        "xllamacpp *\tchat\tyes\t",
        "general.name = Tiny Test",
        f"general.notes = {'x' * 100}…",
    ):
        assert line in text.splitlines()
    assert "\x1b" not in text
    assert "x" * 300 in cli("inspect", "a.gguf", "--metadata").stdout


def test_what_a_file_is_for_is_said(cli: Cli, home: Path) -> None:
    embedding_gguf(home / "models" / "vectors.gguf")
    vectors = json_of(cli("inspect", "vectors", "--json"))
    opens = {(one["backend"], one["kind"]): one["opens"] for one in vectors["backends"]}
    assert opens["xllamacpp", "embedding"]
    assert not opens["xllamacpp", "model"]
    rerank_gguf(home / "models" / "ranks.gguf")
    ranks = json_of(cli("inspect", "ranks", "--json"))
    why = {(one["backend"], one["kind"]): one["why_not"] for one in ranks["backends"]}
    assert "no classifier" in why["xllamacpp", "rerank"]
    assert "reranker" in why["xllamacpp", "embedding"]


def test_what_would_keep_an_engine_from_a_file_is_warned_of(cli: Cli, home: Path) -> None:
    chat_gguf(home / "twice.gguf", **{"tokenizer.ggml.tokens": ["a", "a"]})
    done = cli("inspect", "twice.gguf")
    assert "warning: twice.gguf has the token 'a' 2 times" in done.stderr
    metadata = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2"}
    Maker(metadata, [Tensor("odd", (32,), dtype=99, nbytes=64)], order=">").write(home / "odd.gguf")
    problems = json_of(cli("inspect", "odd.gguf", "--json"))["problems"]
    assert "types that are not known: unknown-99" in problems[0]
    assert "big-endian" in problems[1]


def test_safetensors(cli: Cli, home: Path, tmp_path: Path) -> None:
    safetensors(home / "one.safetensors", a=(4, 8), b=(2, 2))
    found = json_of(cli("inspect", "one.safetensors", "--json", "--tensors"))
    assert (found["form"], found["kind"], found["metadata"]) == (
        "safetensors",
        "image",
        {"format": "pt"},
    )
    assert found["facts"] == {"dtype": "F32", "parameters": 36, "tensors": 2}
    assert [one["name"] for one in found["tensors"]] == ["a", "b"]
    folder = home / "pipe"
    safetensors(folder / "unet" / "model.safetensors", w=(3, 3))
    (folder / "model_index.json").write_text('{"_class_name": "X"}')
    assert json_of(cli("inspect", "./pipe", "--json"))["facts"]["parameters"] == 9
    data = safetensors(home / "m.safetensors", w=(5, 5)).read_bytes()
    config = b'{"architectures": ["LlamaForCausalLM"]}'
    files = {"model.safetensors": data, "config.json": config}
    hub_repo(tmp_path / "cache" / "hub", "org/llama", files)
    llama = json_of(cli("inspect", "org/llama", "--json"))
    assert (llama["form"], llama["facts"]["parameters"]) == ("safetensors", 25)
    assert [one["backend"] for one in llama["backends"]] == ["mistralrs"]


def test_a_folder_with_broken_parts_is_still_listed(cli: Cli, home: Path) -> None:
    folder = home / "pipe"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("[]")
    found = json_of(cli("inspect", "./pipe", "--json"))
    assert (found["form"], found["kind"]) == ("other", "image")


def test_other_models_have_their_listing(cli: Cli) -> None:
    found = json_of(cli("inspect", "openai:gpt-4o", "--json"))
    assert (found["form"], found["spec"]) == ("other", "openai:gpt-4o")
    assert found["backends"][0]["backend"] == "openai"
    assert found["backends"][0]["chosen"] is True
    text = cli("inspect", "whispercpp:base").stdout
    assert "kind\ttranscription" in text


@pytest.mark.needs("hub")
def test_of_a_repository_only_the_header_comes(cli: Cli, home: Path, tmp_path: Path) -> None:
    data = chat_gguf(home / "x.gguf").read_bytes()
    other = chat_gguf(home / "y.gguf", **{"general.name": "Other"}).read_bytes()
    files = {"a-Q4_K_M.gguf": data, "a-Q8_0.gguf": other}
    with standing_in(Hub({"org/a-GGUF": files})):
        found = json_of(cli("inspect", "org/a-GGUF", "--json"))
        assert found["facts"]["name"] == "Tiny Test"
        assert "path" not in found
        named = json_of(cli("inspect", "org/a-GGUF/a-Q8_0.gguf", "--json"))
        assert named["facts"]["name"] == "Other"
        assert not list((tmp_path / "cache").rglob("*.gguf"))
        offline = cli("inspect", "org/a-GGUF", "--offline")
        assert offline.exit_code == 5
        assert "offline" in offline.stderr
        assert cli("pull", "org/a-GGUF").exit_code == 0
    assert json_of(cli("inspect", "org/a-GGUF", "--json"))["source"] == "cache"


def test_a_folder_of_several_models_is_passed_over(cli: Cli, home: Path) -> None:
    pipe = home / "pipe"
    (pipe / "unet").mkdir(parents=True)
    (pipe / "model_index.json").write_text("{}")
    for name in ("a", "b"):
        safetensors(pipe / "unet" / f"{name}.safetensors", w=(2, 2))
    assert json_of(cli("inspect", "./pipe", "--json"))["form"] == "other"
    safetensors(pipe / "vae" / "model.safetensors", w=(2, 5))
    assert json_of(cli("inspect", "./pipe", "--json"))["facts"]["parameters"] == 10


def test_what_is_wrong_has_its_code(cli: Cli, home: Path) -> None:
    assert cli("inspect", "nothing").exit_code == 3
    (home / "bad.gguf").write_bytes(b"GGUF\xff\xff\xff\xff" + b"\xff" * 40)
    bad = cli("inspect", "bad.gguf")
    assert bad.exit_code in (2, 3)
    assert "bad" in bad.stderr
    assert cli("inspect", "chat", "--kv-type", "q3").exit_code == 2
    assert cli("inspect", "chat", "--ctx", "0").exit_code == 2


def test_as_a_process(home: Path) -> None:
    done = in_a_process("inspect", "starter:chat", "--json")
    assert json.loads(done.stdout)["facts"]["architecture"] == "llama"
    assert done.returncode == 0
