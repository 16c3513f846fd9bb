"""``blazen doctor``: what is here, why it is chosen, and an end of 1 where something is broken."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from blazen.cli import checkup
from blazen.errors import ValidationError
from blazen.registry import Backend
from tests.catalog.files import chat_gguf
from tests.cli.conftest import Cli
from tests.cli.machine import empty_home, in_a_process, json_of

pytestmark = pytest.mark.needs("cli", "xllamacpp", "starter:chat")


@pytest.fixture(autouse=True)
def home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_home(tmp_path, monkeypatch)


def chosen(report: dict[str, Any], kind: str) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in report["models"] if row["kind"] == kind)
    return row


def test_a_machine_that_is_well(cli: Cli, tmp_path: Path) -> None:
    report = json_of(cli("doctor", "--json"))
    assert report["broken"] == []
    machine = report["machine"]
    assert machine["python"].startswith(platform.python_version())
    assert "free of" in machine["memory"]
    assert machine["device"]
    assert report["extras"]["cli"] == "installed"
    xllamacpp = next(
        one for one in report["backends"] if (one["kind"], one["name"]) == ("model", "xllamacpp")
    )
    assert (xllamacpp["state"], xllamacpp["advice"]) == ("installed", "")
    assert xllamacpp["engine"].startswith("xllamacpp ")
    assert report["configuration"]["file"] == "none: nothing is configured"
    assert str(tmp_path / "cache") in report["configuration"]["cache"]
    assert "BLAZEN_CACHE" in report["configuration"]["variables"]
    assert report["network"]["network"] == "used"
    chat = chosen(report, "model")
    assert (chat["chosen"], chat["spec"]) == ("starter:chat", "xllamacpp:starter:chat")
    assert chat["found"] >= 1
    assert "it is the first starter model of the kind; xllamacpp opens it" in chat["why"]


def test_the_text_has_the_same(cli: Cli, home: Path) -> None:
    chat_gguf(home / "models" / "mine.gguf")
    (home / "models" / "bad.gguf").write_bytes(b"GGUF")
    done = cli("doctor")
    assert done.exit_code == 0
    for words in (
        "This machine",
        "Backends",
        "chat\txllamacpp\tinstalled\txllamacpp ",
        "Configuration",
        "Network",
        "Models",
        "Warnings\n- bad is left out: ",
        "Nothing is broken.",
    ):
        assert words in done.stdout


def test_the_file_says_what_is_chosen(cli: Cli, home: Path) -> None:
    chat_gguf(home / "models" / "mine.gguf")
    (home / "blazen.toml").write_text('[defaults]\nmodel = "mine"', encoding="utf-8")
    report = json_of(cli("doctor", "--json"))
    assert chosen(report, "model")["chosen"] == "mine"
    assert chosen(report, "model")["why"].startswith("[defaults] says so; ")
    assert report["configuration"]["file"] == str(home / "blazen.toml")
    (home / "blazen.toml").write_text('[defaults]\nmodel = "gone"', encoding="utf-8")
    done = cli("doctor")
    assert done.exit_code == 1
    assert "Broken\n- " in done.stdout
    assert "there is no model for chat 'gone'" in done.stdout
    assert "Nothing is broken." not in done.stdout


def test_a_kind_without_a_model_says_what_brings_one(cli: Cli) -> None:
    row = chosen(json_of(cli("doctor", "--json")), "three_d")
    assert (row["found"], row["chosen"]) == (0, None)
    assert "there is no model for mesh" in row["why"]


def test_a_broken_configuration_is_broken_and_the_rest_is_said(cli: Cli, home: Path) -> None:
    (home / "blazen.toml").write_text("[modles.a]", encoding="utf-8")
    done = cli("doctor")
    assert done.exit_code == 1
    assert "did you mean 'models'?" in done.stdout
    assert "file\tbroken" in done.stdout
    assert "Backends" in done.stdout


def test_backends_are_told_apart(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        Backend("model", "one", "d", "1", installed=False, missing="x", install="pip install x"),
        Backend("tts", "two", "d", "1", installed=False, problem="OSError: libx.so is missing"),
    ]
    monkeypatch.setattr("blazen.registry.backends", lambda: rows)
    done = cli("doctor")
    assert done.exit_code == 1
    assert "chat\tone\tnot installed\t\tpip install x" in done.stdout
    assert "speech\ttwo\tbroken\t\tOSError: libx.so is missing" in done.stdout
    assert "- the backend two (tts): OSError: libx.so is missing" in done.stdout


def test_what_is_only_not_installed_is_not_broken(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "blazen.extras.missing_package", lambda name: name if name in ("fastapi", "mcp") else None
    )
    report = json_of(cli("doctor", "--json"))
    assert report["extras"]["server"] == "lacks fastapi: pip install 'blazen[server]'"
    assert report["extras"]["mcp"] == "lacks mcp: pip install 'blazen[mcp]'"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BLAZEN_OFFLINE", "left alone: BLAZEN_OFFLINE is set"),
        ("HF_HUB_OFFLINE", "left alone for weights: HF_HUB_OFFLINE is set"),
    ],
)
def test_the_network_s_switches(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    monkeypatch.setenv("https_proxy", "http://user:password@proxy")
    done = cli("doctor", "--json")
    network = json_of(done)["network"]
    assert network["network"] == words
    assert (network["hub_token"], network["proxies"]) == ("set", ["https_proxy"])
    assert "verysecret" not in done.stdout
    assert "password" not in done.stdout


def test_a_cache_that_can_not_be_used_is_broken(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup.os, "access", lambda path, mode: False)
    done = cli("doctor")
    assert done.exit_code == 1
    assert "can't be written: set BLAZEN_CACHE" in done.stdout

    def refuse() -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("blazen.weights.inventory.cache_size", refuse)
    assert "can't be read: Permission denied" in cli("doctor").stdout


def test_a_machine_that_can_not_be_looked_at_is_broken(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**given: Any) -> None:
        raise ValidationError("BLAZEN_THREADS must be a whole number")

    monkeypatch.setattr("blazen.hardware.detect", fail)
    done = cli("doctor")
    assert done.exit_code == 1
    assert "this machine can't be looked at: BLAZEN_THREADS" in done.stdout


def test_as_a_process(home: Path) -> None:
    done = in_a_process("doctor")
    assert done.returncode == 0, done.stderr
    assert "Nothing is broken." in done.stdout
    (home / "blazen.toml").write_text("[", encoding="utf-8")
    assert in_a_process("doctor").returncode == 1
