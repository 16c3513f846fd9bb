from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import BlazenError, DownloadError, ModelNotFoundError, ValidationError
from blazen.weights import starter
from blazen.weights.download import web
from blazen.weights.inventory import cached, remove, verify
from blazen.weights.locate import locate, split_parts
from blazen.weights.target import Target, public_url, url_key
from tests.weights.servers import Answer, Files, Hub, serving, standing_in


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.0)
    for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")


HUB = [
    ("org/name", "org/name", None, None),
    ("org/name/file.gguf", "org/name", None, "file.gguf"),
    ("org/name.v1/sub/file.gguf", "org/name.v1", None, "sub/file.gguf"),
    ("org/name@v1.0", "org/name", "v1.0", None),
    ("hf:org/name@refs%2Fpr%2F1/a/b.bin", "org/name", "refs/pr/1", "a/b.bin"),
    ("hf://org/name/f.onnx", "org/name", None, "f.onnx"),
    ("hf:org/name.gguf", "org/name.gguf", None, None),
    ("https://huggingface.co/org/name", "org/name", None, None),
    ("https://huggingface.co/org/name/", "org/name", None, None),
    ("https://hf.co/org/name/tree/main", "org/name", "main", None),
    ("https://huggingface.co/o/n/resolve/main/a/f.gguf?download=true", "o/n", "main", "a/f.gguf"),
    ("https://huggingface.co/o/n/blob/refs%2Fpr%2F1/f.gguf", "o/n", "refs/pr/1", "f.gguf"),
    ("https://mirror.example:8443/o/n/resolve/v1/f.gguf", "o/n", "v1", "f.gguf"),
]


@pytest.mark.parametrize(("text", "repo", "revision", "file"), HUB)
def test_what_names_the_hub(text, repo, revision, file, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example:8443")
    target = Target.parse(text)
    assert target == Target("hub", repo=repo, revision=revision, file=file)
    assert Target.parse(f"hf:{target}") == target
    assert Target.from_json(target.to_json()) == target


@pytest.mark.parametrize(
    "text",
    [
        *("/a/b.gguf", "./org/name", "../x", "~/m.gguf", ".", "C:\\m\\x.gguf", "c:/m", "m.gguf"),
        *("models/qwen.gguf", "bert", "a\\b", "qwen 2.gguf", "models/my model/x.gguf"),
    ],
)
def test_what_names_a_path(text):
    target = Target.parse(text)
    assert target.source == "path"
    assert target.path == Path(text).expanduser()


def test_what_exists_is_a_path_and_hf_insists(tmp_path):
    assert Target.parse("org/name").source == "hub"
    Path("org/name").mkdir(parents=True)
    assert Target.parse("org/name").source == "path"
    assert Target.parse("hf:org/name").source == "hub"
    assert Target.parse(PurePosixPath("no/such")).source == "path"
    assert Target.parse((tmp_path / "a b").as_uri()).path == tmp_path / "a b"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.example/a/m.gguf?token=1", "m.gguf"),
        ("http://x.example", "download"),
        ("http://x.example/a%2Fb/", "download"),
        ("http://x.example/..%2F..%2Fpasswd", ".._.._passwd"),
        ("http://x.example/.bashrc", "download.bashrc"),
        ("http://x.example/%00con|x.gguf", "_con_x.gguf"),
        ("https://huggingface.co/datasets/o/n/resolve/main/x.bin", "x.bin"),
    ],
)
def test_what_names_a_url(url, name):
    target = Target.parse(url)
    assert (target.source, target.url) == ("url", url)
    assert "/" not in target.name
    assert not target.name.startswith(".")
    assert target.name.endswith(name.rpartition(".")[2])
    if not name.startswith("."):
        assert target.name == name


def test_a_starter_name():
    assert Target.parse("starter:chat") == Target("starter", name="chat")
    assert str(Target.parse("starter:chat")) == "starter:chat"


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "a\0b", None, 3, b"x", "starter:", "starter:../x", "s3://b/k", "http://"),
        *("hf:org", "hf:org/..", "hf:org/name/../../x", "hf:org/name/", "hf:org/name@"),
        *("hf:org/name@../x", "hf:org/na me", "hf:a--b/c", "org/name/../../etc/passwd"),
        *("http://[::1", "http://h:port/x", "https://h/a b"),
        "https://huggingface.co/org/name/tree/main/sub",
    ],
)
def test_what_names_nothing(text):
    with pytest.raises(ValidationError):
        Target.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        target = Target.parse(text)
    except ValidationError:
        return
    assert str(target) or target.source == "path"
    for part in (target.file or "", target.repo or "", target.revision or ""):
        assert ".." not in part.split("/")


def test_urls_without_their_secrets():
    assert public_url("https://u:p@h:8/a/b?sig=1#x") == "https://h:8/a/b?…"
    assert public_url("http://[::1]:8/a") == "http://[::1]:8/a"
    assert public_url("http://[bad") == "(a URL that can't be read)"
    assert "secret" not in repr(Target.parse("https://u:secret@h/a?sig=secret"))
    same = ["https://H/a?x=1", "https://u:p@h/a?x=1&X-Amz-Signature=2", "https://h/a?x=1&token=3"]
    assert len({url_key(url) for url in same}) == 1
    others = ["https://h/a?x=2", "https://h/a?x=1&design=1", "https://h:1/a?x=1", "http://h/a?x=1"]
    assert len({url_key(url) for url in [same[0], *others]}) == 5


def test_a_local_file_and_a_file_in_a_local_folder(tmp_path):
    (tmp_path / "desk" / "m.gguf").write_text("x")
    assert locate("m.gguf") == tmp_path / "desk" / "m.gguf"
    assert locate(tmp_path / "desk") == tmp_path / "desk"
    assert locate(".", file="m.gguf") == tmp_path / "desk" / "m.gguf"
    assert locate("./m.gguf", sha256=hashlib.sha256(b"x").hexdigest()).is_absolute()
    with pytest.raises(DownloadError, match="has the SHA-256"):
        locate("m.gguf", sha256="0" * 64)
    with pytest.raises(ValidationError, match="is a folder"):
        locate(".", sha256="0" * 64)
    with pytest.raises(ValidationError, match="inside a folder"):
        locate("m.gguf", file="x")
    with pytest.raises(ValidationError, match="no meaning"):
        locate("m.gguf", revision="main")
    with pytest.raises(ValidationError):
        locate(".", file="../desk/m.gguf")


def test_a_missing_path_says_where_it_ends_and_what_is_near(tmp_path):
    Path("models").mkdir()
    Path("models/qwen3-0.6b-q8.gguf").write_text("x")
    with pytest.raises(ModelNotFoundError) as caught:
        locate("models/qwen3-0.6b-q4.gguf")
    assert "did you mean 'qwen3-0.6b-q8.gguf'?" in str(caught.value)
    assert str(tmp_path / "desk" / "models") in str(caught.value)
    with pytest.raises(ModelNotFoundError, match="did you mean 'models'"):
        locate("./modles/deep/er/x.gguf")
    with pytest.raises(ModelNotFoundError, match="org/name"):
        locate("bert")


def test_a_local_split_model_needs_all_its_parts():
    for part in (1, 3):
        Path(f"m-0000{part}-of-00003.gguf").write_text("x")
    with pytest.raises(ModelNotFoundError, match=r"m-00002-of-00003\.gguf is not beside"):
        locate("m-00001-of-00003.gguf")
    Path("m-00002-of-00003.gguf").write_text("x")
    assert locate("m-00003-of-00003.gguf").name == "m-00001-of-00003.gguf"
    with pytest.raises(ValidationError):
        split_parts("m-00004-of-00003.gguf")
    assert split_parts("m.gguf") == []


def test_a_url_is_kept_in_the_cache_and_listed_and_removed(tmp_path):
    data = b"weights" * 1000
    with serving(Files({"/a/m.gguf": data})) as server:
        url = f"{server.url}/a/m.gguf"
        signed = f"{url}?X-Amz-Signature=verysecret"
        path = locate(signed, sha256=hashlib.sha256(data).hexdigest())
        assert path.read_bytes() == data
        assert path.name == "m.gguf"
        assert tmp_path / "cache" / "url" in path.parents
        assert locate(f"{url}?X-Amz-Signature=another", offline=True) == path
        assert len(server.asked) == 1
        (model,) = cached()
        assert (model.source, model.size, model.files) == ("url", len(data), ("m.gguf",))
        assert model.target == f"{url}?…"
        assert not [f for f in path.parent.iterdir() if b"verysecret" in f.read_bytes()]
        assert verify(signed).ok
        path.write_bytes(b"?" * len(data))
        assert verify(signed).damaged == ("m.gguf",)
        assert remove(signed) == len(data)
        assert cached() == []
        assert locate(signed).read_bytes() == data
        remove(cached()[0].target)
        assert not path.parent.exists()
        for words in ({"file": "x"}, {"patterns": ["x"]}, {"revision": "x"}):
            with pytest.raises(ValidationError, match="no meaning"):
                locate(url, **words)
        with pytest.raises(ValidationError, match="not both"):
            locate(url, file="x", patterns=["x"])


def test_a_url_that_was_cut_is_listed_as_not_complete(tmp_path):
    with serving(Files({"/m.gguf": b"w" * 500_000})) as server:
        server.next = [Answer(cut=1000), Answer(400)]
        with pytest.raises(DownloadError):
            locate(f"{server.url}/m.gguf")
        (model,) = cached()
        assert (model.complete, model.size, model.target) == (False, 1000, f"{server.url}/m.gguf")
        assert locate(f"{server.url}/m.gguf").stat().st_size == 500_000
        assert server.asked[-1].headers["Range"] == "bytes=1000-"
        assert cached()[0].complete


def test_a_split_model_from_a_url_lies_together():
    parts = {f"/x/m-0000{i}-of-00002.gguf": bytes([i]) * 10 for i in (1, 2)}
    with serving(Files(parts)) as server:
        first = locate(f"{server.url}/x/m-00002-of-00002.gguf?sig=1")
        assert first.name == "m-00001-of-00002.gguf"
        assert first.with_name("m-00002-of-00002.gguf").read_bytes() == b"\2" * 10
        assert len(server.asked) == 2
        shown = {model.target for model in cached()}
        assert shown == {f"{server.url}/x/m-00001-of-00002.gguf?…"}
        target = shown.pop()
        assert verify(target).good == ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
        assert remove(target) == 20
        assert cached() == []


@pytest.fixture
def hub():
    files = {"config.json": b"{}", "m.gguf": b"w" * 1000, "m-q8.gguf": b"8" * 1000}
    files |= {f"s/m-0000{i}-of-00002.gguf": bytes([i]) * 10 for i in (1, 2)}
    with standing_in(Hub({"org/name": files})) as hub:
        yield hub


def test_a_hub_file_a_folder_and_a_split_model(hub):
    file = locate("org/name/m.gguf")
    assert file.read_bytes() == b"w" * 1000
    assert locate("org/name", file="m.gguf") == file
    assert locate("hf:org/name@main", file="m.gguf", offline=True) == file
    folder = locate("org/name", patterns=["*.json"])
    assert (folder / "config.json").read_bytes() == b"{}"
    assert not (folder / "m-q8.gguf").exists()
    first = locate("org/name/s/m-00002-of-00002.gguf")
    assert first == folder / "s" / "m-00001-of-00002.gguf"
    assert first.with_name("m-00002-of-00002.gguf").read_bytes() == b"\2" * 10
    assert (locate("org/name") / "m-q8.gguf").exists()
    count = len(hub.asked)
    assert locate("org/name", sha256=None, offline=True) == folder
    assert locate(file.as_posix(), sha256=hashlib.sha256(b"w" * 1000).hexdigest()) == file
    assert len(hub.asked) == count


def test_what_contradicts_itself_is_refused(hub):
    for words in (
        {"target": "org/name/m.gguf", "file": "config.json"},
        {"target": "org/name@v1", "revision": "v2"},
        {"target": "org/name/m.gguf", "patterns": ["*"]},
        {"target": "org/name", "file": "m.gguf", "patterns": ["*"]},
    ):
        with pytest.raises(ValidationError):
            locate(**words)
    assert hub.asked == []


def test_a_split_model_that_lacks_a_part(hub):
    del hub.repos["org/name"]["s/m-00002-of-00002.gguf"]
    with pytest.raises(ModelNotFoundError, match="lacks parts"):
        locate("org/name/s/m-00001-of-00002.gguf")


def test_a_starter_name_goes_to_the_starters(monkeypatch, tmp_path):
    asked = []

    def starter_path(name, **words):
        asked.append((name, words))
        return tmp_path / "desk"

    monkeypatch.setattr(starter, "starter_path", starter_path)
    (tmp_path / "desk" / "model.onnx").write_text("x")

    def stop() -> bool:
        return False

    found = locate("starter:embed", file="model.onnx", cache_dir=tmp_path, cancelled=stop)
    assert found == tmp_path / "desk" / "model.onnx"
    words = {"cache_dir": tmp_path, "on_progress": None, "cancelled": stop}
    assert asked == [("embed", words)]


@pytest.mark.parametrize(
    ("target", "advised"),
    [("nowher", True), ("./nowher", False), (Path("nowher"), False), ("/nowher/x.gguf", False)],
)
def test_what_is_only_a_path_gets_no_advice_about_the_hub(target, advised, tmp_path, monkeypatch):
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError) as refusal:
        locate(target)
    said = str(refusal.value)
    assert ("org/name" in said) is advised
    assert "A hub" not in said
    assert ("did you mean 'nowhere'?" in said) is not str(target).startswith("/")


def test_every_error_is_ours(tmp_path):
    for target in ("nothing", "./x/y", "http://127.0.0.1:9/x", "starter:nope", "hf:x"):
        with pytest.raises(BlazenError):
            locate(target)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder closed to us")
def test_a_folder_that_may_not_be_listed(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o300)
    with pytest.raises(ModelNotFoundError):
        locate(closed / "x.gguf")
