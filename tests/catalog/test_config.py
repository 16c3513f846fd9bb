"""The file: what it may say, and how what is wrong in it is named."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from blazen.catalog import Catalog
from blazen.catalog import config as config_module
from blazen.catalog.config import find_config, read_config
from blazen.errors import MissingExtraError, ValidationError
from blazen.options.isolation import Isolation

WHOLE = """
[manager]
pools = { cpu = "4GiB" }
reserve = "1GiB"
cores = 2
keep_alive = 300
isolation = "process"
policy = "reload_cost"
max_waiting = 50
learn = false
measure = true

[server]
port = 1234

[defaults]
model = "small"

[discover]
folders = ["models", "~/more"]
programs = false
starters = false
hide = ["*-old"]

[backends]
model = "llamacpp"

[models.small]
spec = "xllamacpp:./a.gguf"
options = { context_length = 2048, projector = "../eyes.gguf", chat_template = "{{ x }}" }
system = "Be brief."
memory = "1GiB"
pinned = true
keep_alive = 60.5
priority = -1
preload = true
fallback = "large"
deadline = 5
isolation = { memory = "2GiB", nice = 3 }
description = "A small one"

[models.large]
spec = "openai:gpt"
kind = "embedding"
memory = { cpu = "1GiB", "gpu:0" = "2GiB" }
isolation = false
"""


@pytest.fixture
def write(home: Path) -> Any:
    def write(text: str, name: str = "blazen.toml") -> Path:
        path = home / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_table_is_read(home: Path, write: Any) -> None:
    path = write(WHOLE)
    catalog = Catalog.read()
    assert catalog.config_path == path
    assert catalog.manager == {
        "pools": {"cpu": 4 << 30},
        "reserve": 1 << 30,
        "cores": 2,
        "keep_alive": 300,
        "isolation": Isolation(),
        "policy": "reload_cost",
        "max_waiting": 50,
        "learn": False,
        "measure": True,
    }
    assert catalog.server == {"port": 1234}
    assert catalog.defaults == {"model": "small"}
    assert catalog.config.backends == {"model": ("llamacpp",)}
    assert catalog.config.discover == {
        "folders": (str(home / "models"), str(home / "more")),
        "programs": False,
        "starters": False,
        "hide": ("*-old",),
    }
    small, large = catalog.find("small"), catalog.find("large")
    assert small.spec == f"xllamacpp:{home / 'a.gguf'}"
    assert small.options == {
        "context_length": 2048,
        "projector": str(home.parent / "eyes.gguf"),
        "chat_template": "{{ x }}",
    }
    assert (small.kind, small.source, small.backend) == ("model", "config", "xllamacpp")
    assert (small.system, small.description) == ("Be brief.", "A small one")
    assert (small.memory, small.pinned, small.keep_alive) == (1 << 30, True, 60.5)
    assert (small.priority, small.preload) == (-1, True)
    assert (small.fallback, small.deadline) == (("large",), 5)
    assert small.isolation == Isolation(memory=2 << 30, nice=3)
    assert (large.kind, large.isolation) == ("embedding", None)
    assert large.memory == {"cpu": 1 << 30, "gpu:0": 2 << 30}


def test_paths_of_the_file_begin_where_it_lies(
    home: Path, write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (home / "sub").mkdir()
    path = write('[models.a]\nspec = "xllamacpp:./a.gguf"', "sub/blazen.toml")
    monkeypatch.chdir(tmp_path)
    assert Catalog.read(path).find("a").spec == f"xllamacpp:{home / 'sub' / 'a.gguf'}"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("[models", ValidationError, ["is not TOML"]),
        ("[modles.a]", ValidationError, ["'modles'", "did you mean 'models'?"]),
        ("models = 3", ValidationError, ["models must be a table"]),
        ("[models]\na = 3", ValidationError, ["models.a must be a table"]),
        ("[models.a]\nkind = 'model'", ValidationError, ["[models.a] needs a spec"]),
        ("[models.a]\nspec = ''", ValidationError, ["[models.a]", "spec must not be empty"]),
        ("[models.a]\nspec = 3", ValidationError, ["[models.a]", "spec must be a text"]),
        (
            "[models.a]\nspec = 'x:y'\npined = true",
            ValidationError,
            ["[models.a]", "'pined'", "did you mean 'pinned'?"],
        ),
        (
            "[models.a]\nspec = 'x:y'\nkind = 'speech'",
            ValidationError,
            ["[models.a]", "'speech'", "tts"],
        ),
        ("[models.a]\nspec = 'x:y'\npinned = 1.5", ValidationError, ["pinned must be one of"]),
        ("[models.a]\nspec = 'x:y'\nmemory = 'much'", ValidationError, ["memory must be bytes"]),
        ("[models.a]\nspec = 'x:y'\nkeep_alive = -1", ValidationError, ["keep_alive must be at"]),
        ("[models.a]\nspec = 'x:y'\npriority = 1.5", ValidationError, ["priority must be a whole"]),
        ("[models.a]\nspec = 'x:y'\noptions = 3", ValidationError, ["options must be a table"]),
        ("[models.a]\nspec = 'x:y'\nfallback = [1]", ValidationError, ["fallback must be a text"]),
        ("[models.a]\nspec = 'x:y'\nisolation = 'no'", ValidationError, ["isolation is 'process'"]),
        (
            "[models.a]\nspec = 'x:y'\nisolation = { memry = 1 }",
            ValidationError,
            ["[models.a]", "memry"],
        ),
        ("[manager]\nram = '4GiB'\npools = {cpu = 1}", ValidationError, ["ram or pools"]),
        ("[manager]\npools = { disk = 1 }", ValidationError, ["[manager]", "disk"]),
        ("[manager]\npolicy = 'reload_cst'", ValidationError, ["did you mean 'reload_cost'?"]),
        ("[manager]\ncores = 0", ValidationError, ["cores must be at least 1"]),
        ("[defaults]\nmodle = 'a'", ValidationError, ["[defaults]", "did you mean 'model'?"]),
        ("[discover]\nfolder = 'a'", ValidationError, ["[discover]", "did you mean 'folders'?"]),
        ("[backends]\nmodel = [3]", ValidationError, ["[backends]", "model must be a text"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    write: Any, text: str, code: type[Exception], words: list[str]
) -> None:
    path = write(text)
    with pytest.raises(code) as caught:
        Catalog.read()
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_what_is_no_text_is_no_file(home: Path) -> None:
    (home / "blazen.toml").write_bytes(b"\xff\xfe[models]")
    with pytest.raises(ValidationError, match="is not UTF-8"):
        Catalog.read()
    (home / "blazen.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ValidationError, match="larger than 1 MiB"):
        Catalog.read()
    (home / "blazen.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    with pytest.raises(ValidationError, match="is not TOML"):
        Catalog.read()


def test_a_byte_order_mark_is_no_error(home: Path) -> None:
    (home / "blazen.toml").write_bytes(b"\xef\xbb\xbf[server]\nport = 1")
    assert Catalog.read().server == {"port": 1}


def test_the_file_is_looked_for_in_order(
    home: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_config(None) is None
    assert read_config(None).path is None
    user = home / "settings" / "blazen"
    user.mkdir(parents=True)
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *given, **more: str(user))
    (user / "blazen.toml").write_text("", encoding="utf-8")
    assert find_config(None) == user / "blazen.toml"
    here = write("")
    assert find_config(None) == here
    other = write("", "other.toml")
    monkeypatch.setenv("BLAZEN_CONFIG", str(other))
    assert find_config(None) == other
    named = write("", "named.toml")
    assert find_config("~/named.toml") == named


def test_a_file_that_was_named_must_be_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=r"no configuration file .*nope.toml$"):
        Catalog.read("nope.toml")
    monkeypatch.setenv("BLAZEN_CONFIG", "gone.toml")
    with pytest.raises(ValidationError, match="which BLAZEN_CONFIG names"):
        Catalog.read()


@pytest.mark.skipif(
    not hasattr(sys, "getuid") or __import__("os").getuid() == 0, reason="root reads everything"
)
def test_a_file_that_may_not_be_read_is_named(write: Any) -> None:
    path = write("")
    path.chmod(0)
    with pytest.raises(ValidationError, match="can't be read"):
        Catalog.read()


def test_python_3_10_reads_with_tomli(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tomli = pytest.importorskip("tomli")
    monkeypatch.setattr(config_module.sys, "version_info", (3, 10))
    assert config_module._toml() is tomli
    write("[server]\nport = 1")
    assert Catalog.read().server == {"port": 1}


def test_without_tomli_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tomli":
            raise ModelNotFoundErrorOfPython(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(config_module.sys, "version_info", (3, 10))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="pip install tomli"):
        config_module._toml()


class ModelNotFoundErrorOfPython(ModuleNotFoundError):
    """What Python raises for a module that is not there."""


def test_lists_are_lists(home: Path) -> None:
    with pytest.raises(ValidationError, match="not one text"):
        Catalog.read(folders="models")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="not one text"):
        Catalog.read(given="starter:chat")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " a", "a\nb", "a\u001b[2J"])
def test_a_name_that_nobody_can_type_is_refused(write: Any, name: str) -> None:
    write(f"[models.{json.dumps(name)}]\nspec = 'starter:chat'\n")
    with pytest.raises(ValidationError, match="a name that nobody can type"):
        Catalog.read()


def test_a_backend_that_is_not_known_is_named(write: Any) -> None:
    write("[discover]\nprograms = false\n[models.a]\nspec = 'xlamacpp:./gone.gguf'\n")
    (warning,) = Catalog.read().warnings()
    assert "a is left out: there is no backend 'xlamacpp'; did you mean 'xllamacpp'?" in warning


def test_a_home_that_may_not_be_looked_into_holds_no_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.stat

    def stat(self: Path, **settings: Any) -> Any:
        if home in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, **settings)

    monkeypatch.setattr(Path, "stat", stat)
    catalog = Catalog.read()
    assert catalog.config_path is None
    assert {one.source for one in catalog.listings()} <= {"starter"}


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use stays there")
def test_a_folder_that_was_deleted_holds_no_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "gone").mkdir()
    monkeypatch.chdir(home / "gone")
    (home / "gone").rmdir()
    assert Catalog.read().config_path is None


def test_a_date_is_no_option(write: Any) -> None:
    write("[models.a]\nspec = 'xllamacpp:starter:chat'\noptions = {a = 2020-01-01}\n")
    with pytest.raises(ValidationError, match=r"blazen.toml: \[models.a\]: a date has no JSON"):
        Catalog.read()
