"""``blazen demo``: what it shows, and what it says of what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blazen.cli.commands.demo import STEPS
from tests.cli.conftest import Cli, Echo
from tests.cli.test_main import failing


@pytest.mark.needs("xllamacpp", "fastembed", "piper", "whispercpp", "starter")
def test_each_step_is_shown_and_does_what_it_says(cli: Cli) -> None:
    result = cli("demo")
    assert result.exit_code == 0, result.stderr
    for step in STEPS:
        assert step.title in result.stderr
        assert f"$ blazen {step.command[0]} -m {step.starter}" in result.stderr
    assert "left out" not in result.stderr
    assert "Next: 'blazen chat'" in result.stderr
    planet = json.loads(result.stdout[result.stdout.index("{") : result.stdout.index("}") + 1])
    assert planet.keys() == {"planet", "moons"}
    near, far = (line for line in result.stdout.splitlines() if line.startswith("0."))
    assert "The rent is due" in near
    assert "The cat sleeps" in far
    heard = result.stdout.splitlines()[-1].lower()
    assert "every model here runs on this machine" in heard


def test_without_models_it_says_what_to_install(cli: Cli, echo: Echo) -> None:
    echo(parrot={})
    result = cli("demo")
    assert result.exit_code == 3
    assert result.stderr.count("left out: ") == len(STEPS)
    assert "nothing could be shown: pip install 'blazen[xllamacpp,starter]'" in result.stderr
    assert result.stdout == ""


def steps(monkeypatch: pytest.MonkeyPatch, *commands: tuple[str, ...]) -> None:
    """Have the demo consist of these, whose models are all there."""
    chosen = tuple(STEPS[0]._replace(command=command) for command in commands)
    monkeypatch.setattr("blazen.cli.commands.demo.STEPS", chosen)
    monkeypatch.setattr("blazen.catalog.Catalog.find", lambda *_: None)


def test_a_step_that_fails_ends_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(monkeypatch, ("completion", "nosh"), ("completion", "bash"))
    result = cli("demo")
    assert result.exit_code == 2
    assert "'nosh' is not one of" in result.stderr
    assert "_BLAZEN_COMPLETE" not in result.stdout


def test_an_interrupt_ends_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    steps(monkeypatch, ("doctor",), ("completion", "bash"))
    result = cli("demo")
    assert result.exit_code == 130
    assert "_BLAZEN_COMPLETE" not in result.stdout


def test_without_a_sound_there_is_nothing_to_write_down(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch)
    monkeypatch.setattr(
        "blazen.cli.commands.demo.STEPS",
        (STEPS[-1], STEPS[0]._replace(command=("completion", "bash"))),
    )
    result = cli("demo")
    assert result.exit_code == 0
    assert "left out: there is no sound to write down" in result.stderr
    assert "_BLAZEN_COMPLETE" in result.stdout


def test_what_is_piped_in_is_no_part_of_a_step(
    cli: Cli, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo(parrot={})
    steps(monkeypatch, ("run", "hello"), ("run", "again"))
    result = cli("demo", input="and this")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "hello\nagain\n"


def test_the_users_configuration_is_used(
    cli: Cli, echo: Echo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    echo(parrot={})
    config = tmp_path / "mine.toml"
    config.write_text("[discover]\nstarters = false\ncache = false\nprograms = false\n")
    steps(monkeypatch, ("list",))
    assert "parrot" in cli("demo").stdout
    result = cli("demo", "--config", str(config))
    assert result.exit_code == 0, result.stderr
    assert "parrot" not in result.stdout
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "empty.gguf").touch()
    result = cli("demo", "--config", str(config), "--model-dir", str(tmp_path / "mine"))
    assert "empty.gguf is empty" in result.stderr
