"""``blazen list``: every model once, with its kind, and what is wrong said beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.catalog.files import chat_gguf, embedding_gguf
from tests.cli.conftest import Cli
from tests.cli.machine import empty_home, in_a_process, json_of

pytestmark = pytest.mark.needs("cli", "xllamacpp", "starter:chat")


@pytest.fixture(autouse=True)
def home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_home(tmp_path, monkeypatch)


def test_every_model_is_a_line(cli: Cli, home: Path) -> None:
    chat = chat_gguf(home / "models" / "mine.gguf")
    lines = [line.split("\t") for line in cli("list").stdout.splitlines()]
    assert ["starter:chat", "chat", "98.4 MB", "starter", "SmolLM2 135M Instruct, Q4_1 (GGUF)"] in (
        lines
    )
    size = f"{chat.stat().st_size} B"
    assert ["mine", "chat", size, "folder", "Tiny Test, llama, Q4_K_M"] in lines
    kinds = [line[1] for line in lines]
    assert kinds[: kinds.count("chat")] == ["chat"] * kinds.count("chat")  # they stand together


def test_one_kind_in_the_words_of_users(cli: Cli, home: Path) -> None:
    embedding_gguf(home / "models" / "vectors.gguf")
    found = cli("list", "--kind", "EMBEDDING").stdout.splitlines()
    assert "vectors" in [line.split("\t")[0] for line in found]
    assert {line.split("\t")[1] for line in found} == {"embedding"}
    chats = json_of(cli("list", "--kind", "chat", "--json"))["models"]
    assert {one["kind"] for one in chats} == {"model"}
    wrong = cli("list", "--kind", "talk")
    assert wrong.exit_code == 2
    assert "'talk' is not one of 'chat'" in wrong.stderr


def test_json_has_what_a_program_needs(cli: Cli, home: Path) -> None:
    path = chat_gguf(home / "else" / "mine.gguf")
    (home / "else" / "bad.gguf").write_bytes(b"GGUF")
    found = json_of(cli("list", "--json", "--model-dir", str(home / "else")))
    mine = next(one for one in found["models"] if one["name"] == "mine")
    assert mine == {
        "name": "mine",
        "kind": "model",
        "spec": f"xllamacpp:{path}",
        "source": "folder",
        "path": str(path),
        "size": path.stat().st_size,
        "description": "Tiny Test, llama, Q4_K_M",
    }
    assert len(found["warnings"]) == 1
    assert found["warnings"][0].startswith("bad is left out: ")


def test_warnings_are_beside_the_result(cli: Cli, home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "bad.gguf").write_bytes(b"GGUF")
    done = cli("list")
    assert done.exit_code == 0
    assert "warning: bad is left out" in done.stderr
    assert "bad" not in done.stdout


def test_where_they_lie(cli: Cli, home: Path) -> None:
    path = chat_gguf(home / "models" / "mine.gguf")
    rows = [line.split("\t") for line in cli("list", "--paths").stdout.splitlines()]
    where = {row[0]: row[4] for row in rows}
    assert where["mine"] == str(path)
    assert where["starter:chat"] == "xllamacpp:starter:chat"


def test_where_there_is_none_it_says_what_brings_one(cli: Cli, home: Path) -> None:
    (home / "blazen.toml").write_text("[discover]\nstarters = false", encoding="utf-8")
    done = cli("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "There is no model here." in done.stderr
    assert "There is no model for mesh here." in cli("list", "--kind", "mesh").stderr
    assert json_of(cli("list", "--json")) == {"models": [], "warnings": []}


def test_a_broken_file_is_an_error_that_names_it(cli: Cli, home: Path) -> None:
    (home / "blazen.toml").write_text("[modles.a]", encoding="utf-8")
    done = cli("list")
    assert done.exit_code == 2
    assert done.stderr.startswith("blazen: ")
    assert "did you mean 'models'?" in done.stderr
    assert cli("list", "--config", "gone.toml").exit_code == 2


def test_as_a_process(home: Path) -> None:
    done = in_a_process("list", "--kind", "chat")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("starter:chat\tchat\t")
    assert done.stderr == ""
