"""From what a user types to one model."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from blazen.catalog import Catalog, Listing
from blazen.catalog.lookup import match
from blazen.catalog.opening import FORMS, Openers, backend_kinds
from blazen.errors import ModelNotFoundError, ValidationError
from tests.catalog.files import chat_gguf, embedding_gguf, hub_repo

pytestmark = pytest.mark.usefixtures("home")

needs = pytest.mark.needs


@pytest.fixture
def folder(home: Path) -> Path:
    folder = home / "models"
    for name in ("Phi-4-mini-Q4_K_M", "Phi-4-large-Q8_0", "Qwen3-0.6B-Q4_0"):
        chat_gguf(folder / "org" / f"{name}-GGUF" / f"{name}.gguf")
    embedding_gguf(folder / "nomic-embed.gguf")
    return folder


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        ("b", ["b"]),
        ("B", ["B"]),
        ("other", ["b"]),
        ("OTHER", ["b"]),
        ("b-lon", ["b-long"]),
        ("long", ["b-long"]),
        ("b-", ["b-long", "b-loud"]),
        ("alia", ["b-loud"]),
        ("x", []),
    ],
)
def test_one_exact_name_hides_those_that_are_alike(wanted: str, means: list[str]) -> None:
    names = {"b": ("other",), "B": (), "b-long": (), "b-loud": ("/some/alias",)}
    assert match(wanted, names) == means


@needs("xllamacpp")
def test_a_part_of_a_name_is_enough_where_no_other_has_it(folder: Path) -> None:
    catalog = Catalog.read()
    assert catalog.find("qwen3").name == "Qwen3-0.6B-Q4_0"
    assert catalog.find("phi-4-MINI").name == "Phi-4-mini-Q4_K_M"
    assert catalog.find("org/Qwen3-0.6B-Q4_0-GGUF/Qwen3-0.6B-Q4_0").name == "Qwen3-0.6B-Q4_0"
    with pytest.raises(ModelNotFoundError) as caught:
        catalog.find("phi-4")
    for word in ("'phi-4' may be any of 2", "Phi-4-mini-Q4_K_M", "Phi-4-large-Q8_0"):
        assert word in str(caught.value)
    assert catalog.find("Tiny Test", "embedding").name == "nomic-embed"


@needs("xllamacpp")
def test_the_kind_decides_between_two(folder: Path) -> None:
    chat_gguf(folder / "nomic-chat.gguf")
    catalog = Catalog.read()
    assert catalog.find("nomic", "embedding").name == "nomic-embed"
    assert catalog.find("nomic", "model").name == "nomic-chat"
    with pytest.raises(ModelNotFoundError, match="'nomic-embed' is a model for embedding, not for"):
        catalog.find("nomic-embed", "model")
    with pytest.raises(ValidationError, match="no kind of model 'chat'"):
        catalog.find("nomic", "chat")


@needs("xllamacpp", "starter:chat")
def test_what_is_not_there_says_what_is_near() -> None:
    catalog = Catalog.read()
    with pytest.raises(ModelNotFoundError, match="did you mean 'starter:chat'"):
        catalog.find("starer:chat")
    with pytest.raises(ModelNotFoundError, match="did you mean 'starter:chat'"):
        catalog.find("starter:chatt")
    with pytest.raises(ModelNotFoundError, match=r"there is no model for chat 'zzz'; there is: "):
        catalog.find("zzz", "model")
    for text in ("", "  ", None, 3):
        with pytest.raises(ValidationError, match="named by text"):
            catalog.find(text)  # type: ignore[arg-type]


def test_with_no_model_at_all_it_says_what_to_install(home: Path) -> None:
    (home / "blazen.toml").write_text("[discover]\nstarters = false", encoding="utf-8")
    catalog = Catalog.read()
    with pytest.raises(ModelNotFoundError, match=r"here at all; pip install 'blazen\[starter\]'"):
        catalog.find("zzz")
    with pytest.raises(ModelNotFoundError, match=r"not installed: pip install 'blazen\[starter\]'"):
        catalog.find("starter:chat")


@needs("xllamacpp", "starter:chat")
def test_starters_go_by_short_names_and_by_specs() -> None:
    catalog = Catalog.read()
    chat = catalog.find("chat")
    assert chat.name == "starter:chat"
    assert chat.spec == "xllamacpp:starter:chat"
    assert (chat.kind, chat.source, chat.size) == ("model", "starter", 98_362_432)
    for text in ("starter:chat", "xllamacpp:starter:chat", "SmolLM2-135M-Instruct.Q4_1.gguf"):
        assert catalog.find(text) is chat
    other = catalog.find("llamacpp:starter:chat")
    assert (other.name, other.backend) == ("llamacpp:starter:chat", "llamacpp")


@needs("xllamacpp")
def test_a_path_is_a_model(home: Path, tmp_path: Path) -> None:
    model = chat_gguf(tmp_path / "else" / "own.gguf")
    catalog = Catalog.read()
    own = catalog.find(str(model))
    assert own.name == "own"  # whoever asks which models there are learns no path
    assert (own.spec, own.source, own.path) == (f"xllamacpp:{model}", "given", model)
    assert catalog.find(str(model)) is own
    assert catalog.find("own") is own
    assert catalog.find(f"xllamacpp:{model}") is own
    (home / "here.gguf").write_bytes(model.read_bytes())
    assert catalog.find("here.gguf").path == home / "here.gguf"
    assert catalog.find("~/here.gguf").name == "here"
    spec = catalog.find(f"llamacpp:{model}")
    assert (spec.name, spec.spec, spec.size) == (
        "llamacpp:own",
        f"llamacpp:{model}",
        model.stat().st_size,
    )


@needs("xllamacpp")
def test_a_path_in_a_known_folder_is_that_model(folder: Path) -> None:
    path = folder / "org" / "Qwen3-0.6B-Q4_0-GGUF" / "Qwen3-0.6B-Q4_0.gguf"
    catalog = Catalog.read()
    by_path = catalog.find(str(path))
    assert (by_path.name, by_path.source) == ("Qwen3-0.6B-Q4_0", "folder")
    assert catalog.find(f"xllamacpp:{path}") is by_path


@needs("xllamacpp")
def test_two_paths_of_one_name_are_two_models(tmp_path: Path, home: Path) -> None:
    one = chat_gguf(tmp_path / "1" / "own.gguf")
    two = chat_gguf(tmp_path / "2" / "own.gguf")
    catalog = Catalog.read()
    assert catalog.find(str(one)).path == one
    assert catalog.find(str(two)).path == two
    assert len({listing.name for listing in catalog.listings() if listing.path}) == 2


@needs("xllamacpp")
def test_the_kind_of_a_path_is_its_header_s(tmp_path: Path) -> None:
    embeds = embedding_gguf(tmp_path / "x" / "embeds.gguf")
    catalog = Catalog.read()
    assert catalog.find(str(embeds)).kind == "embedding"
    assert Catalog.read().find(f"xllamacpp:{embeds}").kind == "embedding"
    with pytest.raises(ModelNotFoundError, match="for embedding, not for chat"):
        catalog.find(str(embeds), "model")
    # A chat model gives vectors too, where the user says so.
    chats = chat_gguf(tmp_path / "x" / "chats.gguf")
    assert catalog.find(f"xllamacpp:{chats}", "embedding").kind == "embedding"


@needs("whispercpp", "piper", "diffusers", "fastembed")
def test_files_and_folders_of_other_kinds(tmp_path: Path) -> None:
    x = tmp_path / "x"
    (x / "pipe").mkdir(parents=True)
    (x / "pipe" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (x / "empty").mkdir()
    for name in ("ggml-tiny.bin", "joe.onnx", "flux.safetensors", "odd.npz"):
        (x / name).write_bytes(b"x")
    (x / "bge" / "onnx").mkdir(parents=True)
    (x / "bge" / "onnx" / "model.onnx").write_bytes(b"x")
    chat_gguf(x / "many" / "a-Q4_K_M.gguf")
    chat_gguf(x / "many" / "a-Q8_0.gguf")
    (x / "bge" / "tokenizer.json").write_text("{}")
    catalog = Catalog.read()
    kinds = {
        "ggml-tiny.bin": ("transcription", "whispercpp"),
        "joe.onnx": ("tts", "piper"),
        "flux.safetensors": ("image", "diffusers"),
        "pipe": ("image", "diffusers"),
        "bge": ("embedding", "fastembed"),
        "many": ("model", "xllamacpp"),
    }
    for name, (kind, backend) in kinds.items():
        listing = catalog.find(str(x / name))
        assert (listing.kind, listing.backend, listing.target) == (kind, backend, str(x / name))
    with pytest.raises(ModelNotFoundError, match=r"write backend:.*odd\.npz"):
        catalog.find(str(x / "odd.npz"))
    with pytest.raises(ModelNotFoundError, match="holds no model that is known here"):
        catalog.find(str(x / "empty"))


@needs("xllamacpp", "fastembed", "whispercpp", "piper", "kokoro", "diffusers", "triposr")
@pytest.mark.parametrize(
    ("text", "kind", "backend"),
    [
        ("org/Tiny-GGUF", None, "xllamacpp"),
        ("hf:org/Tiny-GGUF@main/tiny.gguf", "model", "xllamacpp"),
        ("org/Tiny-GGUF", "embedding", "xllamacpp"),
        ("org/bge-small", "embedding", "fastembed"),
        ("org/cross", "rerank", "fastembed"),
        ("org/splade", "sparse", "fastembed"),
        ("org/whisper", "transcription", "whispercpp"),
        ("org/voice", "tts", "piper"),
        ("org/Kokoro-82M", "tts", "kokoro"),
        ("org/flux", "image", "diffusers"),
        ("org/mesh", "three_d", "triposr"),
        ("https://example.org/x/tiny.gguf?token=1", None, "xllamacpp"),
    ],
)
def test_what_is_not_here_yet_gets_the_backend_of_its_kind(
    text: str, kind: str | None, backend: str
) -> None:
    listing = Catalog.read().find(text, kind)
    assert (listing.backend, listing.target) == (backend, text)
    assert (listing.kind, listing.source) == (kind or "model", "given")
    assert "token" not in listing.name


def test_specs_of_providers_are_models() -> None:
    catalog = Catalog.read()
    assert catalog.find("openai:gpt-4o").kind == "model"
    assert catalog.find("openai:text-embedding-3-small", "embedding").kind == "embedding"
    assert backend_kinds()["whispercpp"] == ("transcription",)
    assert catalog.find("whispercpp:base").kind == "transcription"


@needs("xllamacpp")
def test_a_name_from_elsewhere_opens_nothing_new(tmp_path: Path, folder: Path) -> None:
    secret = chat_gguf(tmp_path / "secret" / "own.gguf")
    catalog = Catalog.read()
    for text in (
        str(secret),
        f"xllamacpp:{secret}",
        "org/name",
        "https://example.org/a.gguf",
        "openai:gpt-4o",
        "/dev/zero",
        "../../etc/passwd",
        "starter:none",
    ):
        with pytest.raises(ModelNotFoundError):
            catalog.find_known(text, "model")
    assert catalog.find_known("qwen3", "model").name == "Qwen3-0.6B-Q4_0"
    catalog.find(str(secret))
    assert catalog.find_known("own").path == secret


@needs("xllamacpp", "starter:chat")
def test_the_default_is_given_configured_or_first(folder: Path, home: Path) -> None:
    assert Catalog.read().choose("model").name == "starter:chat"
    assert Catalog.read().choose("embedding").name in ("starter:embed", "nomic-embed")
    given = Catalog.read(given=["nomic-embed", "qwen3"])
    assert given.choose("model").name == "Qwen3-0.6B-Q4_0"
    assert given.choose("embedding").name == "nomic-embed"
    config = home / "blazen.toml"
    config.write_text('[defaults]\nmodel = "phi-4-mini"', encoding="utf-8")
    assert Catalog.read().choose("model").name == "Phi-4-mini-Q4_K_M"
    assert Catalog.read(given=["qwen3"]).choose("model").name == "Qwen3-0.6B-Q4_0"
    config.write_text('[defaults]\nmodel = "gone"', encoding="utf-8")
    with pytest.raises(ModelNotFoundError, match=r"blazen.toml: \[defaults\]: model: there is no"):
        Catalog.read().choose("model")
    config.write_text('[models.mine]\nspec = "llamacpp:starter:chat"', encoding="utf-8")
    assert Catalog.read().choose("model").name == "mine"
    with pytest.raises(ValidationError, match="no kind of model"):
        Catalog.read().choose("chat")


@needs("xllamacpp", "llamacpp", "starter:chat")
def test_the_file_says_which_backend_is_preferred(home: Path) -> None:
    (home / "blazen.toml").write_text('[backends]\nmodel = ["llamacpp"]', encoding="utf-8")
    assert Catalog.read().find("chat").spec == "llamacpp:starter:chat"
    openers = Openers({"model": ("mistralrs", "whispercpp")})
    assert openers.able("gguf", "model") == ("mistralrs", "xllamacpp", "llamacpp")
    assert openers.of_kind("tts") == ("piper", "kokoro")


def test_without_a_backend_a_model_is_left_out_and_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blazen.errors import MissingExtraError

    def none(kind: str, name: str) -> type:
        if name == "llamacpp":
            raise RuntimeError("its library is broken")
        raise MissingExtraError(f"the {name!r} backend needs {name!r}: pip install {name}")

    monkeypatch.setattr("blazen.catalog.opening.backend_class", none)
    chat_gguf(home / "models" / "mine.gguf")
    (home / "blazen.toml").write_text('[models.own]\nspec = "llamacpp:./a.gguf"', encoding="utf-8")
    catalog = Catalog.read()
    assert "mine" not in [one.name for one in catalog.listings()]
    warnings = catalog.warnings()
    assert any(w.startswith("mine (chat) is left out: the 'xllamacpp' backend") for w in warnings)
    assert (
        "own can't be opened: the 'llamacpp' backend is broken: "
        "RuntimeError: its library is broken" in warnings
    )
    with pytest.raises(ModelNotFoundError, match=r"mine \(chat\) is left out: .*install xll"):
        catalog.find("mine")
    with pytest.raises(ModelNotFoundError, match="there is no model for mesh, and no backend: the"):
        catalog.choose("three_d")
    (home / "blazen.toml").unlink()
    with pytest.raises(ModelNotFoundError, match="for chat that can be opened here: "):
        Catalog.read().choose("model")


@needs("xllamacpp", "starter:chat")
def test_a_spec_of_the_file_may_be_a_target_alone(home: Path) -> None:
    chat_gguf(home / "a.gguf")
    embedding_gguf(home / "b.gguf")
    (home / "blazen.toml").write_text(
        '[models.one]\nspec = "./a.gguf"\n[models.two]\nspec = "starter:chat"\n'
        '[models.three]\nspec = "./gone.gguf"\n[models.four]\nspec = "starter:none"\n'
        '[models.five]\nspec = "./b.gguf"\nmemory = 5\n',
        encoding="utf-8",
    )
    catalog = Catalog.read()
    assert catalog.find("one").spec == f"xllamacpp:{home / 'a.gguf'}"
    assert catalog.find("two").spec == "xllamacpp:starter:chat"
    five = catalog.find("five")
    assert (five.kind, five.memory, five.source) == ("embedding", 5, "config")
    assert [one.name for one in catalog.configured()] == ["one", "two", "five"]
    warnings = "\n".join(catalog.warnings())
    assert f"three is left out: there is no {home / 'gone.gguf'}" in warnings
    assert "four is left out: there is no model 'starter:none'" in warnings
    with pytest.raises(ModelNotFoundError, match="three is left out"):
        catalog.find("three")


@needs("xllamacpp")
def test_a_file_of_the_configuration_is_not_listed_twice(folder: Path, home: Path) -> None:
    path = folder / "nomic-embed.gguf"
    text = f"[models.vectors]\nspec = 'xllamacpp:{path}'\nkind = 'embedding'\n"
    (home / "blazen.toml").write_text(text, encoding="utf-8")
    catalog = Catalog.read()
    assert [one.name for one in catalog.listings("embedding") if one.path] == ["vectors"]
    assert catalog.find("nomic-embed").name == "vectors"


def test_every_form_has_a_backend_that_is_known() -> None:
    for (_, kind), backends in FORMS.items():
        for backend in backends:
            assert kind in backend_kinds()[backend]


def test_listings_are_records(home: Path) -> None:
    one = Listing(name="a", kind="model", spec="x:y:z", options={"n": 1}, path=home, size=3)
    assert (one.backend, one.target) == ("x", "y:z")
    assert Listing.from_json(one.to_json()) == one
    assert one.key == Listing(name="b", kind="model", spec="x:y:z", options={"n": 1}).key
    assert one.key != Listing(name="a", kind="model", spec="x:y:z", options={"n": 2}).key


@needs("xllamacpp", "starter:chat")
def test_it_is_read_from_several_threads(folder: Path) -> None:
    catalog = Catalog.read()
    seen: list[tuple[str, int]] = []

    def look(number: int) -> None:
        name = ("qwen3", "chat", "phi-4-mini", "nomic-embed")[number % 4]
        seen.append((catalog.find(name).name, len(catalog.listings())))

    threads = [threading.Thread(target=look, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12
    assert len({name for name, _ in seen}) == 4
    assert len({count for _, count in seen}) == 1


@needs("xllamacpp")
def test_the_catalogue_of_the_cache_keeps_hub_ids(tmp_path: Path, home: Path) -> None:
    data = chat_gguf(home / "x.gguf").read_bytes()
    hub_repo(tmp_path / "cache" / "hub", "org/One-GGUF", {"one-Q4_K_M.gguf": data})
    one = Catalog.read().find("org/One-GGUF")
    assert (one.source, one.description) == ("cache", "Tiny Test, llama, Q4_K_M")
    assert Catalog.read().find("org/One-GGUF/one-Q4_K_M.gguf").name == "org/One-GGUF"


def test_its_text_says_where_it_is_from(home: Path) -> None:
    assert repr(Catalog.read()) == "<Catalog of no file: 0 models>"


@needs("xllamacpp")
def test_what_can_be_nothing_at_all(tmp_path: Path) -> None:
    catalog = Catalog.read()
    for text in ("a/" + "x" * 5_000, "hf:", "a\0b.gguf", "~nobody-here/x.gguf"):
        with pytest.raises((ModelNotFoundError, ValidationError)):
            catalog.find(text)
    adapter = chat_gguf(tmp_path / "x" / "adapter.gguf", **{"general.type": "adapter"})
    with pytest.raises(ModelNotFoundError, match="of type 'adapter'"):
        catalog.find(str(adapter))


@needs("diffusers")
def test_a_kind_that_a_path_can_not_have(tmp_path: Path, home: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "ggml-tiny.bin").write_bytes(b"x")
    with pytest.raises(ModelNotFoundError, match="write backend:"):
        Catalog.read().find(str(tmp_path / "x" / "ggml-tiny.bin"), "image")
    (tmp_path / "pipe").mkdir()
    (tmp_path / "pipe" / "model_index.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="for image, not for chat"):
        Catalog.read().find(str(tmp_path / "pipe"), "model")


@pytest.mark.parametrize("text", ["./gone.gguf", "gone.gguf", "/nowhere/model", "~/gone"])
def test_a_path_that_leads_nowhere_is_told_as_one(home: Path, text: str) -> None:
    with pytest.raises(ModelNotFoundError, match=f"^there is no file '{text}'$"):
        Catalog.read().find(text)


def test_a_file_that_may_not_be_read_is_told_as_such(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = chat_gguf(tmp_path / "locked.gguf")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    with pytest.raises(ModelNotFoundError, match=r"locked.gguf can't be read: Permission denied"):
        Catalog.read().find(str(path))
