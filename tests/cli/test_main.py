"""The program around its commands: help, errors and exit codes, and what it costs to begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

import blazen.cli
from blazen.cli import failures, options, program
from blazen.errors import (
    BlazenError,
    BudgetError,
    ContextLengthError,
    DownloadError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    UnknownBackendError,
    ValidationError,
)
from tests.cli.conftest import Cli, Echo


def run_program(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blazen.cli", *args],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env=env,
    )


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have ``blazen doctor`` raise."""

    @click.command()
    def command() -> None:
        raise error

    get = program.LazyGroup.get_command
    monkeypatch.setattr(
        program.LazyGroup,
        "get_command",
        lambda self, ctx, name: command if name == "doctor" else get(self, ctx, name),
    )


def test_help_names_every_command(cli: Cli) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    for entry in program.TABLE:
        assert f"\n  {entry.name} " in result.stdout
        assert entry.help.split()[0] in result.stdout


@pytest.mark.parametrize("entry", program.TABLE, ids=lambda entry: entry.name)
def test_every_command_is_there_and_explains_itself(cli: Cli, entry: program.Entry) -> None:
    result = cli(entry.name, "--help")
    assert result.exit_code == 0, result.stderr
    assert "Usage: " in result.stdout


def test_help_imports_neither_a_command_nor_what_only_commands_need() -> None:
    code = (
        "import sys\nsys.argv = ['blazen', '--help']\n"
        "from blazen.cli import main\n"
        "assert main() == 0\n"
        "heavy = {'rich', 'prompt_toolkit', 'asyncio', 'fastapi', 'numpy', 'blazen.catalog',\n"
        "         'importlib.metadata', 'json'} & set(sys.modules)\n"
        "heavy |= {name for name in sys.modules if name.startswith('blazen.cli.commands')}\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_the_version_is_the_packages(cli: Cli) -> None:
    from importlib.metadata import version

    assert cli("--version").stdout == f"blazen {version('blazen')}\n"


@pytest.mark.parametrize(
    ("typed", "near"), [("chta", "'chat'"), ("lst", "'list'"), ("embedd", "'embed'")]
)
def test_an_unknown_command_says_which_are_near(cli: Cli, typed: str, near: str) -> None:
    result = cli(typed)
    assert result.exit_code == 2
    assert f"there is no command '{typed}'; did you mean" in result.stderr
    assert near in result.stderr
    assert result.stdout == ""


def test_nothing_near_leads_to_the_help(cli: Cli) -> None:
    result = cli("zzzzzz")
    assert "there is no command 'zzzzzz'; 'blazen --help' lists them" in result.stderr
    assert cli("--zzz").exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValidationError("x"), 2),
        (ModelNotFoundError("x"), 3),
        (MissingExtraError("x"), 3),
        (UnknownBackendError("x"), 3),
        (BudgetError("x"), 4),
        (ContextLengthError("x"), 4),
        (ProviderError("x", provider="p"), 5),
        (RateLimitError("x", provider="p"), 5),
        (DownloadError("x"), 5),
        (BlazenError("x"), 1),
        (OSError("x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_a_line_and_a_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    failing(monkeypatch, error)
    result = cli("doctor")
    assert result.exit_code == code
    assert result.stderr == "blazen: x\n"
    assert result.stdout == ""


def test_what_nobody_expected_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("boom"))
    result = cli("doctor")
    assert result.exit_code == 1
    assert "a mistake in blazen itself: RuntimeError: boom (BLAZEN_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("BLAZEN_DEBUG", "1")
    result = cli("doctor")
    assert isinstance(result.exception, RuntimeError)


@pytest.mark.parametrize(
    ("module", "extra"), [("rich.live", "cli"), ("uvicorn", "server"), ("mcp", "mcp")]
)
def test_a_missing_package_says_what_to_install(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    failing(monkeypatch, ModuleNotFoundError("x", name=module))
    result = cli("doctor")
    assert result.exit_code == 1
    assert f"needs '{module}', which is not installed: pip install 'blazen[{extra}]'" in (
        result.stderr
    )


def test_an_interrupt_and_a_gone_reader_have_codes_of_their_own(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert cli("doctor").exit_code == failures.INTERRUPTED
    failing(monkeypatch, BrokenPipeError())
    result = cli("doctor")
    assert (result.exit_code, result.stderr) == (failures.BROKEN_PIPE, "")


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes break in another way")
def test_a_pipe_that_nobody_reads_is_silent() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "blazen.cli", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (failures.BROKEN_PIPE, b"")


def test_a_real_process_ends_with_the_code(place: Path) -> None:
    done = run_program("nothing")
    assert done.returncode == 2
    assert "there is no command 'nothing'" in done.stderr
    done = run_program("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "blazen")


def test_main_gives_the_code(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr(sys, "argv", ["blazen", "--version"])
    assert blazen.cli.main() == 0
    monkeypatch.setattr(sys, "argv", ["blazen", "nothing"])
    assert blazen.cli.main() == 2

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program.program, "main", interrupted)
    assert blazen.cli.main() == failures.INTERRUPTED


def test_without_click_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    assert blazen.cli.main() == 1
    assert "pip install 'blazen[cli]'" in capsys.readouterr().err


def test_blazen_alone_shows_the_first_steps(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    result = cli()
    assert result.exit_code == 0
    assert "blazen demo" in result.stdout
    monkeypatch.setattr("blazen.registry._missing", lambda cls: "an_engine")
    result = cli()
    assert "No engine for chat models is installed yet" in result.stderr
    assert "pip install 'blazen[xllamacpp,starter]'" in result.stderr


def test_colours_only_where_they_are_wanted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ValidationError("x"))
    assert "\x1b[" in cli("doctor", color=True).stderr
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli("doctor", color=True).stderr == "blazen: x\n"


def test_places_are_read_from_options() -> None:
    seen: list[options.Places] = []

    @click.command()
    @options.catalog_options
    def command(places: options.Places) -> None:
        seen.append(places)

    assert CliRunner().invoke(command, ["--config", "a.toml", "--model-dir", "b"]).exit_code == 0
    assert CliRunner().invoke(command, []).exit_code == 0
    assert seen == [options.Places(Path("a.toml"), (Path("b"),)), options.Places()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Cli, shell: str) -> None:
    result = cli("completion", shell)
    assert result.exit_code == 0
    assert f"_BLAZEN_COMPLETE={shell}_complete" in result.stdout


def test_commands_are_completed_with_what_they_do(place: Path) -> None:
    completion = ShellComplete(program.program, {}, "blazen", "_BLAZEN_COMPLETE")
    found = {item.value: item.help for item in completion.get_completions([], "c")}
    assert found == {"chat": "Talk with a model.", "completion": found["completion"]}
    assert [item.value for item in completion.get_completions([], "--ver")] == ["--version"]
    options = [item.value for item in completion.get_completions(["chat"], "--pl")]
    assert options == ["--plain"]
    assert completion.get_completions(["nothing"], "x") == []


def test_tools_that_walk_the_commands_find_them() -> None:
    names = program.program.list_commands(click.Context(program.program))
    assert names == [entry.name for entry in program.TABLE]


def test_shells_complete_commands_and_options(place: Path) -> None:
    def complete(words: str, place: int) -> str:
        given = {"_BLAZEN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
        return run_program(env={**os.environ, **given}).stdout

    assert complete("blazen com", 1) == "plain,completion\n"
    assert "plain,--max-tokens\n" in complete("blazen run --max", 2)


CLOSED = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.executable, sys.argv[2:])"


@pytest.mark.skipif(sys.platform == "win32", reason="a closed stream is another thing there")
@pytest.mark.parametrize(
    ("stream", "args", "code"),
    [
        (1, ("list",), 0),
        (1, ("run", "hello"), 0),
        (2, ("run", "hello"), 0),
        (0, ("run", "hello"), 0),
        (0, ("run",), 2),
        (0, ("chat", "--no-save"), 0),
        (0, ("embed",), 2),
        (0, ("rm", "nothing"), 3),
    ],
    ids=str,
)
def test_a_stream_that_is_closed_is_no_mistake_of_ours(
    echo: Echo, stream: int, args: tuple[str, ...], code: int
) -> None:
    echo(parrot={})
    program = [sys.executable, "-m", "blazen.cli", *args]
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, str(stream), *program],
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "a mistake in blazen" not in done.stderr
    assert (done.stdout == "hello\n") is (args == ("run", "hello") and stream != 1)
