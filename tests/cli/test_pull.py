"""``blazen pull``: what is fetched, from where, and that nothing is fetched twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.files import chat_gguf
from tests.cli.conftest import Cli, Echo
from tests.cli.machine import empty_home, in_a_process, json_of
from tests.weights.servers import Files, Hub, serving, standing_in

pytestmark = pytest.mark.needs("cli", "hub")

REPO = "org/tiny-GGUF"


@pytest.fixture(autouse=True)
def home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_home(tmp_path, monkeypatch)


@pytest.fixture
def hub(home: Path) -> Iterator[Hub]:
    data = chat_gguf(home / "x.gguf").read_bytes()
    repos = {
        REPO: {
            "tiny-Q4_K_M.gguf": data,
            "tiny-Q8_0.gguf": data + b"8",
            "mmproj-tiny.gguf": data + b"m",
            "README.md": b"# tiny",
        },
        "org/plain": {"config.json": b"{}", "model.safetensors": b"weights"},
    }
    with standing_in(Hub(repos)) as hub:
        yield hub


def test_one_file_of_a_repository_comes(cli: Cli, hub: Hub, home: Path) -> None:
    done = cli("pull", REPO)
    assert done.exit_code == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.name == "tiny-Q4_K_M.gguf"
    assert path.read_bytes() == hub.repos[REPO]["tiny-Q4_K_M.gguf"]
    assert [file.name for file in path.parent.iterdir()] == ["tiny-Q4_K_M.gguf"]
    asked = len(hub.cdn.gets())
    assert cli("pull", REPO, "--offline").stdout.strip() == str(path)
    assert json_of(cli("pull", REPO, "--json")) == [
        {"target": REPO, "path": str(path), "size": path.stat().st_size}
    ]
    assert len(hub.cdn.gets()) == asked
    if cli("list", "--kind", "chat").stdout:
        assert json_of(cli("inspect", REPO, "--json"))["source"] == "cache"


def test_a_projector_is_named_until_it_is_here(cli: Cli, hub: Hub) -> None:
    done = cli("pull", REPO)
    assert f"blazen pull {REPO} --file mmproj-tiny.gguf" in done.stderr
    assert cli("pull", REPO, "--file", "mmproj-tiny.gguf").exit_code == 0
    assert "projector" not in cli("pull", REPO).stderr


def test_which_one_is_said_by_its_quantization(cli: Cli, hub: Hub) -> None:
    assert cli("pull", REPO, "-q", "Q8_0").stdout.strip().endswith("tiny-Q8_0.gguf")
    missing = cli("pull", REPO, "-q", "Q2_K")
    assert missing.exit_code == 3
    assert "no file of quantization Q2_K; there is: tiny-Q4_K_M.gguf" in missing.stderr
    assert cli("pull", REPO, "-q", "Q4_X").exit_code == 2
    plain = cli("pull", "org/plain", "-q", "Q8_0")
    assert plain.exit_code == 2
    assert "--quantization is for a repository with GGUF files: org/plain" in plain.stderr


def test_by_file_by_pattern_and_whole(cli: Cli, hub: Hub) -> None:
    assert cli("pull", f"{REPO}/tiny-Q8_0.gguf").stdout.strip().endswith("tiny-Q8_0.gguf")
    assert (
        cli("pull", REPO, "--file", "mmproj-tiny.gguf").stdout.strip().endswith("mmproj-tiny.gguf")
    )
    folder = Path(cli("pull", REPO, "--include", "*.md").stdout.strip())
    assert (folder / "README.md").read_bytes() == b"# tiny"
    assert not (folder / "tiny-Q4_K_M.gguf").exists()
    whole = Path(cli("pull", REPO, "--all").stdout.strip())
    assert sorted(file.name for file in whole.iterdir()) == sorted(hub.repos[REPO])
    plain = Path(cli("pull", "org/plain").stdout.strip())
    assert (plain / "model.safetensors").read_bytes() == b"weights"
    revision = hub.commit("org/plain")
    assert cli("pull", "org/plain", "--revision", revision).stdout.strip() == str(plain)


def test_several_at_once(cli: Cli, hub: Hub) -> None:
    found = json_of(cli("pull", "--json", REPO, "org/plain"))
    assert [one["target"] for one in found] == [REPO, "org/plain"]
    assert found[1]["size"] == len(b"{}weights")


def test_a_url_with_its_hash(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = b"x" * 1000
    with serving(Files({"/m.gguf": data})) as server:
        url, right = f"{server.url}/m.gguf", hashlib.sha256(data).hexdigest()
        wrong = cli("pull", url, "--sha256", "0" * 64)
        assert wrong.exit_code == 5
        assert right in wrong.stderr
        assert Path(cli("pull", url, "--sha256", right).stdout.strip()).read_bytes() == data


def test_options_that_contradict_each_other_are_refused(cli: Cli) -> None:
    for more in (
        ("--file", "a", "--all"),
        ("--include", "*", "-q", "Q8_0"),
        ("--sha256", "0" * 64, "org/other"),
        ("--sha256", "0" * 64),
    ):
        done = cli("pull", REPO, *more)
        assert done.exit_code == 2, done.stderr
    assert cli("pull").exit_code == 2


def test_offline_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("pull", "org/none-GGUF", "--offline")
    assert done.exit_code == 5
    assert "offline" in done.stderr
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    done = cli("pull", "https://example.org/m.gguf")
    assert done.exit_code == 5
    assert "offline" in done.stderr


def test_what_is_not_there_is_named(cli: Cli, hub: Hub) -> None:
    done = cli("pull", "org/none")
    assert done.exit_code in (3, 5)
    assert "org/none" in done.stderr
    assert cli("pull", "starter:nope").exit_code == 3


@pytest.mark.needs("starter:chat")
def test_a_starter_is_where_its_package_is(cli: Cli) -> None:
    path = Path(cli("pull", "starter:chat").stdout.strip())
    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert path.stat().st_size == 98_362_432
    assert cli("pull", "xllamacpp:starter:chat").stdout.strip() == str(path)


def test_a_name_of_the_file_is_what_it_stands_for(cli: Cli, hub: Hub, home: Path) -> None:
    (home / "blazen.toml").write_text(
        f'[models.mine]\nspec = "xllamacpp:{REPO}"\noptions = {{ quantization = "Q8_0" }}\n'
        f'[models.other]\nspec = "xllamacpp:{REPO}"\noptions = {{ file = "tiny-Q4_K_M.gguf" }}\n',
        encoding="utf-8",
    )
    assert cli("pull", "mine").stdout.strip().endswith("tiny-Q8_0.gguf")
    assert cli("pull", "other").stdout.strip().endswith("tiny-Q4_K_M.gguf")
    assert cli("pull", "other", "-q", "Q8_0").stdout.strip().endswith("tiny-Q8_0.gguf")


def test_what_only_a_backend_can_name_is_fetched_by_it(cli: Cli, echo: Echo) -> None:
    echo()
    done = cli("pull", "echo:whatever")
    assert (done.exit_code, done.stdout) == (0, "echo:whatever\n"), done.stderr
    assert json_of(cli("pull", "echo:whatever", "--json")) == [
        {"target": "echo:whatever", "path": None, "size": None}
    ]
    elsewhere = cli("pull", "openai:gpt-4o")
    assert elsewhere.exit_code != 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_keeps_what_came_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data, go = os.urandom(8 << 20), threading.Event()
    with serving(Files({"/m.gguf": data}, hold=(6 << 20, go))) as server:
        url = f"{server.url}/m.gguf"
        program = subprocess.Popen(
            [sys.executable, "-m", "blazen.cli", "pull", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with program:
            _until(lambda: any(path.stat().st_size for path in _partials(tmp_path)))
            program.send_signal(signal.SIGINT)
            out, error = program.communicate(timeout=120)
        go.set()
        assert program.returncode == 130, error
        assert out == b""
        kept = sum(path.stat().st_size for path in _partials(tmp_path))
        assert 0 < kept < len(data)
        done = in_a_process("pull", url)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).read_bytes() == data
        assert server.gets()[-1].headers["Range"].startswith("bytes=")


def _partials(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob(".*.partial"))


def _until(condition: Any) -> None:
    waiting = threading.Event()
    for _ in range(6_000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it never came")
