"""What is found without being named: on a machine that other programs have filled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from blazen.catalog import Catalog, Listing, programs
from blazen.catalog import gguf as gguf_module
from blazen.catalog.folders import Search
from blazen.catalog.gguf import gguf_facts, is_gguf
from blazen.catalog.places import looked_in
from blazen.catalog.remembered import Remembered
from blazen.catalog.repositories import told_by_names
from blazen.errors import ModelNotFoundError, ValidationError
from tests.catalog.files import (
    chat_gguf,
    embedding_gguf,
    hub_repo,
    ollama,
    projector_gguf,
    rerank_gguf,
)

pytestmark = [pytest.mark.needs("xllamacpp", "fastembed"), pytest.mark.usefixtures("home")]

NO_STARTERS = "[discover]\nstarters = false\n"


@pytest.fixture(autouse=True)
def _no_starters(home: Path) -> None:
    (home / "blazen.toml").write_text(NO_STARTERS, encoding="utf-8")


def found(*folders: Path) -> dict[str, Listing]:
    return {one.name: one for one in Catalog.read(folders=folders).listings()}


def test_an_empty_machine_has_none(home: Path) -> None:
    catalog = Catalog.read()
    assert catalog.listings() == ()
    assert catalog.warnings() == ()
    with pytest.raises(ModelNotFoundError, match="there is no model for chat here: pip install"):
        catalog.choose("model")


def test_the_header_tells_the_kind(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    chat_gguf(folder / "chat.gguf")
    embedding_gguf(folder / "embed.gguf")
    rerank_gguf(folder / "rank.gguf")
    models = found(folder)
    assert {name: one.kind for name, one in models.items()} == {
        "chat": "model",
        "embed": "embedding",
        "rank": "rerank",
    }
    chat = models["chat"]
    assert chat.path == folder / "chat.gguf"
    assert chat.spec == f"xllamacpp:{folder / 'chat.gguf'}"
    assert chat.size == (folder / "chat.gguf").stat().st_size
    assert (chat.source, chat.description) == ("folder", "Tiny Test, llama, Q4_K_M")


def test_what_is_no_model_is_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    projector_gguf(folder / "mmproj-tiny.gguf")
    projector_gguf(folder / "eyes.gguf")
    chat_gguf(folder / "draws.gguf", **{"general.architecture": "flux", "general.type": "model"})
    (folder / "draws.gguf").write_bytes(
        (folder / "draws.gguf")
        .read_bytes()
        .replace(b"tokenizer.ggml.model", b"tokenizer.none.model")
    )
    chat_gguf(folder / "lora.gguf", **{"general.type": "adapter"})
    chat_gguf(folder / "half-00001-of-00002.gguf")
    (folder / "notes.txt").write_text("no model")
    catalog = Catalog.read(folders=[folder])
    assert catalog.listings() == ()
    assert catalog.warnings() == (f"{folder}: half-00001-of-00002.gguf (1 of 2 parts) is left out",)
    with pytest.raises(ModelNotFoundError, match="of type 'mmproj'"):
        catalog.find("eyes")


def test_parts_are_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    for number in (1, 2, 3):
        chat_gguf(folder / f"large-0000{number}-of-00003.gguf")
    models = found(folder)
    assert list(models) == ["large"]
    assert models["large"].path == folder / "large-00001-of-00003.gguf"
    assert models["large"].size == sum(path.stat().st_size for path in folder.iterdir())


def test_a_broken_file_is_a_warning_and_the_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    chat_gguf(folder / "good.gguf")
    (folder / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    (folder / "empty.gguf").touch()
    catalog = Catalog.read(folders=[folder])
    assert [one.name for one in catalog.listings()] == ["good"]
    bad, empty = sorted(catalog.warnings())
    assert bad.startswith("bad is left out: ")
    assert str(folder / "bad.gguf") in bad
    assert "empty" in empty
    with pytest.raises(ModelNotFoundError, match="bad is left out"):
        catalog.find("bad", "model")


def test_a_projector_of_the_same_length_goes_with_its_model(tmp_path: Path) -> None:
    fits, other = tmp_path / "fits", tmp_path / "other"
    chat_gguf(fits / "sees.gguf")
    projector_gguf(fits / "mmproj-sees.gguf", width=32)
    chat_gguf(other / "blind.gguf")
    projector_gguf(other / "mmproj-blind.gguf", width=64)
    two = tmp_path / "two"
    chat_gguf(two / "torn.gguf")
    projector_gguf(two / "mmproj-a.gguf")
    projector_gguf(two / "mmproj-b.gguf")
    models = found(fits, other, two)
    assert models["sees"].options == {"projector": str(fits / "mmproj-sees.gguf")}
    assert models["blind"].options == models["torn"].options == {}


def test_every_program_is_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    chat_gguf(home / ".lmstudio" / "models" / "org" / "Tiny-GGUF" / "Tiny-Q4.gguf")
    chat_gguf(home / ".cache" / "lm-studio" / "models" / "org" / "Old-GGUF" / "Old-Q4.gguf")
    chat_gguf(home / ".local" / "share" / "nomic.ai" / "GPT4All" / "four.gguf")
    chat_gguf(home / "jan" / "models" / "jan-one" / "model.gguf")
    chat_gguf(home / "models" / "mine.gguf")
    ollama(home / ".ollama" / "models", "tiny", "1b", chat_gguf(home / "a.gguf"))
    ollama(home / ".ollama" / "models", "me/own", "latest", chat_gguf(home / "b.gguf"))
    hub = home / ".cache" / "huggingface" / "hub"
    data = (home / "models" / "mine.gguf").read_bytes()
    hub_repo(hub, "org/Hub-GGUF", {"Hub-Q4_K_M.gguf": data})
    models = found()
    assert sorted(models) == [
        "Old-Q4",
        "Tiny-Q4",
        "four",
        "jan-one",
        "me/own:latest",
        "mine",
        "org/Hub-GGUF",
        "tiny:1b",
    ]
    assert {one.source for one in models.values()} == {"folder"}
    catalog = Catalog.read()
    assert catalog.find("me/own").name == "me/own:latest"
    assert catalog.find("org/Tiny-GGUF/Tiny-Q4.gguf").name == "Tiny-Q4"
    assert catalog.find("hub-q4_k_m").name == "org/Hub-GGUF"
    assert str(home / "models") in looked_in((), {})


def test_where_programs_say_their_models_are(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama(tmp_path / "else", "tiny", "1b", chat_gguf(home / "a.gguf"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "else"))
    data = chat_gguf(home / "b.gguf").read_bytes()
    hub_repo(tmp_path / "hf" / "hub", "org/One-GGUF", {"one.gguf": data})
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    chat_gguf(tmp_path / "env" / "from-env.gguf")
    gone = tmp_path / "gone"
    monkeypatch.setenv("BLAZEN_MODEL_DIR", f"{tmp_path / 'env'}{os.pathsep}{gone}")
    catalog = Catalog.read()
    assert [one.name for one in catalog.listings()] == ["from-env", "tiny:1b", "org/One-GGUF"]
    assert any(str(gone) in warning for warning in catalog.warnings())
    assert looked_in([], {"cache": False, "programs": False}) == [str(tmp_path / "env"), str(gone)]


def test_places_can_be_left_out(home: Path) -> None:
    chat_gguf(home / "models" / "mine.gguf")
    chat_gguf(home / "folder" / "kept.gguf")
    chat_gguf(home / "folder" / "dropped-old.gguf")
    text = '[discover]\nstarters=false\nprograms=false\ncache=false\nfolders="folder"\nhide="*-old"'
    (home / "blazen.toml").write_text(text, encoding="utf-8")
    assert [one.name for one in Catalog.read().listings()] == ["kept"]
    assert looked_in([home / "folder"], {"cache": False, "programs": False}) == [
        str(home / "folder")
    ]


def test_manifests_that_are_odd_are_warnings(home: Path) -> None:
    root = home / ".ollama" / "models"
    blob = ollama(root, "good", "1b", chat_gguf(home / "a.gguf"))
    manifests = root / "manifests" / "registry.ollama.ai" / "library" / "odd"
    manifests.mkdir(parents=True)
    kind = "application/vnd.ollama.image.model"
    (manifests / "none").write_text('{"layers": []}')
    (manifests / "broken").write_text("{")
    (manifests / "list").write_text("[]")
    (manifests / "climbs").write_text(
        f'{{"layers": [{{"mediaType": "{kind}", "digest": "sha256:../../{"a" * 58}"}}]}}'
    )
    (manifests / "gone").write_text(
        f'{{"layers": [{{"mediaType": "{kind}", "digest": "sha256:{"b" * 64}"}}]}}'
    )
    catalog = Catalog.read()
    assert [(one.name, one.path) for one in catalog.listings()] == [("good:1b", blob)]
    left_out = [warning for warning in catalog.warnings() if str(manifests) in warning]
    assert [Path(warning.split(" is left out")[0]).name for warning in left_out] == [
        "broken",
        "climbs",
        "gone",
        "list",
    ]


def test_the_cache_of_blazen(home: Path, tmp_path: Path) -> None:
    hub = tmp_path / "cache" / "hub"
    data = chat_gguf(home / "a.gguf").read_bytes()
    hub_repo(hub, "org/One-GGUF", {"one-Q4_K_M.gguf": data, "config.json": b"{}"})
    hub_repo(hub, "org/Two-GGUF", {"two-Q4_0.gguf": data, "two-Q8_0.gguf": data})
    hub_repo(hub, "ggerganov/whisper.cpp", {"ggml-base.bin": b"x", "README.md": b""})
    voice = {"en/joe.onnx": b"x", "en/joe.onnx.json": b"{}"}
    hub_repo(hub, "rhasspy/piper-voices", voice)
    hub_repo(hub, "org/pipe", {"model_index.json": b'{"_class_name": "FluxPipeline"}'})
    hub_repo(hub, "stabilityai/TripoSR", {"config.yaml": b"", "model.ckpt": b"x"})
    hub_repo(hub, "org/Kokoro-82M-ONNX", {"onnx/model.onnx": b"x"})
    onnx = {"model.onnx": b"x", "tokenizer.json": b"{}"}
    bert = b'{"architectures": ["BertModel"]}'
    hub_repo(hub, "org/bge", {**onnx, "config.json": bert})
    ranks = b'{"architectures": ["XForSequenceClassification"]}'
    hub_repo(hub, "org/cross", {**onnx, "config.json": ranks})
    hub_repo(hub, "org/colbert-small", onnx)
    hub_repo(hub, "org/splade-pp", onnx)
    hub_repo(hub, "org/clip-vision", {"model.onnx": b"x", "preprocessor_config.json": b"{}"})
    causal = b'{"architectures": ["LlamaForCausalLM"]}'
    hub_repo(hub, "org/llama", {"model.safetensors": b"x", "config.json": causal})
    hub_repo(hub, "org/dataset", {"data.parquet": b"x"})
    (hub / "models--org--nothing").mkdir()
    kinds = {
        "org/One-GGUF": "model",
        "two-Q4_0": "model",
        "two-Q8_0": "model",
        "whisper-base": "transcription",
        "joe": "tts",
        "org/pipe": "image",
        "stabilityai/TripoSR": "three_d",
        "org/Kokoro-82M-ONNX": "tts",
        "org/bge": "embedding",
        "org/cross": "rerank",
        "org/colbert-small": "token_embedding",
        "org/splade-pp": "sparse",
        "org/clip-vision": "image_embedding",
        "org/llama": "model",
    }
    catalog = Catalog.read()
    models = {one.name: one for one in catalog.listings()}
    left_out = " ".join(catalog.warnings())
    for name, kind in kinds.items():
        if name in models:
            assert (models[name].kind, models[name].source) == (kind, "cache")
        else:  # its backend is not here, which is said
            assert f"{name} (" in left_out
    assert "org/dataset" not in models
    assert models["org/bge"].spec == "fastembed:org/bge"
    assert models["org/One-GGUF"].path is not None
    assert catalog.find("one-q4").name == "org/One-GGUF"


def test_what_has_not_arrived_whole_is_said(tmp_path: Path) -> None:
    blobs = tmp_path / "cache" / "hub" / "models--org--half" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(b"x")
    assert Catalog.read().warnings() == ("org/half has not arrived whole: pull it again",)


def test_a_file_from_the_web(tmp_path: Path, home: Path) -> None:
    from blazen.weights.cache import describe, write_receipt

    folder = tmp_path / "cache" / "url" / "key"
    model = chat_gguf(folder / "web.gguf")
    write_receipt(model, describe(model, target="https://example.org/web.gguf"))
    part = chat_gguf(folder / "big-00002-of-00002.gguf")
    write_receipt(part, describe(part, target="https://example.org/big.gguf"))
    catalog = Catalog.read()
    assert [one.name for one in catalog.listings()] == ["web"]
    assert catalog.find("https://example.org/web.gguf").path == model


def test_the_same_file_is_one_model(tmp_path: Path, home: Path) -> None:
    model = chat_gguf(tmp_path / "store" / "one.gguf")
    (home / "models").mkdir()
    (home / "models" / "linked.gguf").symlink_to(model)
    catalog = Catalog.read(folders=[tmp_path / "store"])
    assert [one.name for one in catalog.listings()] == ["one"]
    assert catalog.find("linked").name == "one"


def test_one_name_for_two_files_grows(tmp_path: Path) -> None:
    chat_gguf(tmp_path / "x" / "a" / "same.gguf")
    chat_gguf(tmp_path / "x" / "b" / "same.gguf")
    assert list(found(tmp_path / "x")) == ["same", "b/same"]


def test_links_that_lead_round_end(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    chat_gguf(folder / "in" / "one.gguf")
    (folder / "in" / "back").symlink_to(folder)
    (folder / "nowhere").symlink_to(tmp_path / "gone.gguf")
    search = Search()
    assert [one.name for one in search.models(folder)] == ["one"]
    assert search.problems == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    os.mkfifo(folder / "pipe.gguf")
    (folder / "device.gguf").symlink_to("/dev/zero")
    assert found(folder) == {}
    assert not is_gguf(folder / "pipe.gguf")


def test_a_search_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    chat_gguf(folder / "1" / "2" / "3" / "deep.gguf")
    chat_gguf(folder / "1" / "near.gguf")
    assert [one.name for one in Search(deepest=1).models(folder)] == ["near"]
    assert [one.name for one in Search(deepest=3).models(folder)] == ["near", "deep"]
    search = Search(most=2)
    assert list(search.models(folder)) == []
    assert "more than 2 files" in search.problems[0]
    chat_gguf(folder / ".hidden" / "no.gguf")
    assert [one.name for one in Search().models(folder)] == ["near", "deep"]


def test_a_folder_that_is_not_readable_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x"
    chat_gguf(folder / "one.gguf")
    locked = folder / "locked"
    locked.mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    search = Search()
    assert [one.name for one in search.models(folder)] == ["one"]
    assert search.problems == [f"{locked} can't be read: Permission denied"]


def test_a_header_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_gguf(tmp_path / "x" / "one.gguf")
    reads: list[Path] = []
    real = gguf_module.read_part

    def read(path: Path) -> object:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(gguf_module, "read_part", read)
    for _ in range(3):
        assert gguf_facts(model).kind == "model"
    assert reads == [model]
    embedding_gguf(model)
    assert gguf_facts(model).kind == "embedding"
    with pytest.raises(ModelNotFoundError, match="can't be read"):
        gguf_facts(tmp_path / "gone.gguf")
    (tmp_path / "no.gguf").write_bytes(b"no model, whatever it is called")
    with pytest.raises(ValidationError):
        gguf_facts(tmp_path / "no.gguf")


def test_a_name_is_found_before_headers_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_gguf(tmp_path / "x" / "wanted.gguf")
    for number in range(5):
        chat_gguf(tmp_path / "x" / f"other-{number}.gguf")
    read: list[str] = []
    real = gguf_module.read_part
    monkeypatch.setattr(
        gguf_module, "read_part", lambda path: (read.append(path.name), real(path))[1]
    )
    assert Catalog.read(folders=[tmp_path / "x"]).find("wanted", "model").name == "wanted"
    assert read == ["wanted.gguf"]


def test_what_came_later_is_found_after_another_look(home: Path) -> None:
    (home / "models").mkdir()
    catalog = Catalog.read()
    assert catalog.listings() == ()
    chat_gguf(home / "models" / "late.gguf")
    assert catalog.listings() == ()
    catalog.refresh()
    assert [one.name for one in catalog.listings()] == ["late"]
    (home / "models" / "late.gguf").unlink()
    catalog.refresh()
    assert catalog.listings() == ()


def test_headers_are_remembered_for_the_next_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = chat_gguf(home / "models" / "mine.gguf")
    (tmp_path / "cache").mkdir()
    assert "mine" in found()
    kept = tmp_path / "cache" / "headers.json"
    assert list(json.loads(kept.read_text("utf-8"))["files"]) == [str(model)]

    monkeypatch.setattr(gguf_module, "remembered", Remembered())

    def read(path: Path) -> None:
        raise AssertionError(f"{path} was read again")

    real = gguf_module.read_part
    monkeypatch.setattr(gguf_module, "read_part", read)
    assert gguf_facts(model).description == "Tiny Test, llama, Q4_K_M"
    monkeypatch.setattr(gguf_module, "read_part", real)
    embedding_gguf(model)
    assert gguf_facts(model).kind == "embedding"


@pytest.mark.parametrize("found_by", ["find", "find_known"])
def test_headers_that_a_name_had_read_are_remembered_too(
    home: Path, tmp_path: Path, found_by: str
) -> None:
    model = chat_gguf(home / "models" / "mine.gguf")
    (tmp_path / "cache").mkdir()
    with pytest.raises(ModelNotFoundError):
        getattr(Catalog.read(), found_by)("no-such-model")
    kept = tmp_path / "cache" / "headers.json"
    assert list(json.loads(kept.read_text("utf-8"))["files"]) == [str(model)]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"made_by": "0", "files": {}}', '{"made_by": "V", "files": {"a": 3}}'],
)
def test_what_can_not_be_remembered_is_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("blazen.catalog.remembered._made_by", lambda: "V")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "headers.json").write_text(text, "utf-8")
    chat_gguf(home / "models" / "mine.gguf")
    assert "mine" in found()


def test_what_was_written_into_the_memory_is_not_believed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blazen.catalog.remembered._made_by", lambda: "V")
    model = chat_gguf(home / "models" / "mine.gguf")
    stat = model.stat()
    facts = {"kind": 5, "nonsense": []}
    files = {str(model): [stat.st_size, stat.st_mtime_ns, facts]}
    (tmp_path / "cache").mkdir()
    kept = json.dumps({"made_by": "V", "files": files})
    (tmp_path / "cache" / "headers.json").write_text(kept, "utf-8")
    assert found()["mine"].kind == "model"


def test_a_memory_that_has_grown_too_large_is_left(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blazen.catalog.remembered._LARGEST", 10)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "headers.json").write_text("x" * 100, "utf-8")
    chat_gguf(home / "models" / "mine.gguf")
    assert "mine" in found()


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("darwin", "Library/Application Support/nomic.ai/GPT4All"),
        ("win32", "AppData/Local/nomic.ai/GPT4All"),
        ("linux", ".local/share/nomic.ai/GPT4All"),
    ],
)
def test_programs_keep_their_models_where_the_system_says(
    home: Path, monkeypatch: pytest.MonkeyPatch, platform: str, folder: str
) -> None:
    monkeypatch.setattr("blazen.catalog.programs.sys.platform", platform)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    (home / folder).mkdir(parents=True)
    assert programs.gguf_folders() == [home / folder]


def test_a_user_without_a_home_has_no_such_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    problems: list[str] = []
    assert programs.gguf_folders() == programs.hub_caches() == []
    assert list(programs.ollama_models(problems)) == problems == []


def test_manifests_are_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MOST_MANIFESTS", 1)
    monkeypatch.setattr(programs, "_LARGEST_MANIFEST", 10)
    root = home / ".ollama" / "models"
    ollama(root, "a", "1b", chat_gguf(home / "a.gguf"))
    ollama(root, "b", "1b", chat_gguf(home / "b.gguf"))
    problems: list[str] = []
    assert list(programs.ollama_models(problems)) == []  # the one is too large, and then it ends
    assert problems == [f"{root} has more than 1 models: the rest is left out"]


def test_a_cache_that_can_not_be_read_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("blazen.catalog.places.cached", fail)
    (warning,) = Catalog.read().warnings()
    assert warning == f"the cache {tmp_path / 'cache'} can't be read: Permission denied"


def test_a_projector_that_is_broken_is_left_out(tmp_path: Path) -> None:
    chat_gguf(tmp_path / "x" / "sees.gguf")
    (tmp_path / "x" / "mmproj-sees.gguf").write_bytes(b"GGUF")
    assert found(tmp_path / "x")["sees"].options == {}


def test_an_index_too_large_to_be_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blazen.catalog.repositories._LARGEST_CONFIG", 5)
    folder = tmp_path / "pipe"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    told = told_by_names("pipe", folder, ["model_index.json"])
    assert told == ("pipeline", "image", "a pipeline of diffusers")


def test_what_an_engine_may_not_chat_with(tmp_path: Path) -> None:
    model = chat_gguf(tmp_path / "t5.gguf", **{"general.architecture": "t5"})
    facts = gguf_facts(model)
    assert facts.kind is None
    assert facts.why_not == "its architecture 't5' is no chat model's"
