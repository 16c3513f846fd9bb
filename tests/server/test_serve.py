"""The command that serves, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from blazen.cli.commands.serve import command
from blazen.server import ServerSettings
from tests.server.conftest import ECHOES, echo_package
from tests.server.probe import until

pytestmark = pytest.mark.needs("server", "cli")

ROOT = Path(__file__).parents[2]
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration of echo models, and the package that brings them."""
    folder = echo_package(tmp_path_factory.mktemp("serve"))
    (folder / "blazen.toml").write_text(ECHOES + "\n[server]\nmax_body = '1MiB'\nport = 1\n")
    (folder / "key").write_text("sesame-0123\n")
    return folder


class Serving:
    """A server in a process, and what it says."""

    def __init__(self, place: Path, *arguments: str) -> None:
        paths = [str(ROOT), str(ROOT / "backends"), str(place)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "blazen.cli", "serve", "--json", *arguments],
            cwd=place,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "BLAZEN_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(self.process.communicate()[1])
        self.said: dict[str, Any] = json.loads(line)
        self.url: str = self.said["url"]

    def end(self, *signals: int, seconds: float = 60) -> tuple[int, str]:
        for number in signals:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors


@contextlib.contextmanager
def serving(place: Path, *arguments: str) -> Iterator[Serving]:
    server = Serving(place, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def chat(server: Serving, **headers: str) -> httpx.Response:
    return httpx.post(server.url + "/v1/chat/completions", json=CHAT, headers=headers, timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(place: Path, number: int) -> None:
    with serving(place, ":0") as server:
        assert server.said["pages"][0] == f"{server.url}/chat"
        answer = chat(server).json()
        assert answer["choices"][0]["message"]["content"] == "hello there"
        code, errors = server.end(number)
    assert code == 0
    assert "Traceback" not in errors


def test_flags_go_before_the_file_and_the_file_before_the_defaults(place: Path) -> None:
    with serving(place, "127.0.0.1:0", "--api-key-file", "key", "--no-pages") as server:
        assert server.said["pages"] == []
        assert chat(server).status_code == 401
        key = {"Authorization": "Bearer sesame-0123"}
        assert chat(server, **key).status_code == 200
        large = {"model": "echo", "input": "a" * 1_100_000}
        refused = httpx.post(server.url + "/v1/embeddings", json=large, headers=key, timeout=60)
        assert refused.status_code == 413
        assert "1,048,576" in refused.json()["error"]["message"]
        assert httpx.get(server.url + "/chat").status_code == 404
        code, errors = server.end(signal.SIGTERM)
    assert code == 0
    assert "sesame" not in errors


def test_a_stream_ends_whole_and_a_second_ctrl_c_waits_for_nothing(place: Path) -> None:
    with serving(place, ":0") as server:
        body = {**CHAT, "model": "slow-echo", "stream": True}
        url = server.url + "/v1/chat/completions"
        with httpx.stream("POST", url, json=body, timeout=60) as answer:
            assert answer.status_code == 200
            server.process.send_signal(signal.SIGINT)
            until(lambda: not _listens(server.url))
            assert server.process.poll() is None  # it lets the answer go on
            code, errors = server.end(signal.SIGINT, seconds=5)
    assert code == 130
    assert "stopped at once" in errors


def _listens(url: str) -> bool:
    host, _, port = url.rpartition("//")[2].partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except OSError:
        return False


def test_a_model_may_be_loaded_before_it_listens(place: Path) -> None:
    with serving(place, ":0", "--preload", "echo", "--access-log") as server:
        found = httpx.get(server.url + "/api/models", timeout=60).json()
        state = {model["name"]: model["state"] for model in found["models"]}
        assert state["echo"] == "ready"
        _, errors = server.end(signal.SIGTERM)
    assert '"GET /api/models" 200' in errors


# In this process: what is wrong is said before anything is served


@pytest.fixture
def told(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ServerSettings]]:
    """Run the command without a server, and hear which settings it would have."""
    from blazen.server import run as module

    seen: list[ServerSettings] = []

    def run(catalog: Any, settings: ServerSettings, **_: Any) -> int:
        seen.append(settings)
        return 0

    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delenv("BLAZEN_SERVER_KEY", raising=False)
    monkeypatch.setattr(module, "run", run)
    return seen


def invoke(*arguments: str) -> Any:
    from blazen.catalog.opening import backend_kinds

    backend_kinds.cache_clear()
    try:
        return CliRunner().invoke(command, arguments)
    finally:
        backend_kinds.cache_clear()


def test_every_setting_has_a_flag(told: list[ServerSettings], tmp_path: Path) -> None:
    result = invoke(
        "[::1]:0", "--cors", "https://a.example", "--allowed-host", "a.example",
        "--max-connections", "5", "--max-requests", "6", "--max-waiting", "7",
        "--max-body", "2MiB", "--max-upload", "3MiB", "--max-image-pixels", "8",
        "--max-sound", "9", "--thinking", "--skills-dir", str(tmp_path), "--max-skills", "4",
        "--skill-max-bytes", "1KiB", "--chat-history", str(tmp_path / "h"), "--remote-images",
        "--pull", "--no-pages", "--preload", "echo", "--keep-alive", "30", "--access-log",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    settings = told[0]
    assert (settings.host, settings.port) == ("::1", 0)
    assert settings.cors_origins == ("https://a.example",)
    assert settings.allowed_hosts == ("a.example",)
    numbers = (settings.max_connections, settings.max_requests, settings.max_waiting)
    assert numbers == (5, 6, 7)
    assert (settings.max_body, settings.max_upload) == (2 << 20, 3 << 20)
    assert (settings.max_image_pixels, settings.max_sound) == (8, 9.0)
    assert settings.thinking
    assert settings.remote_images
    assert settings.pull
    assert not settings.pages
    assert settings.preload == ("echo",)
    assert (settings.max_skills, settings.skill_max_bytes) == (4, 1024)
    assert settings.keep_alive == 30
    assert settings.access_log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0.0.0.0:0"], "--allow-public"),
        (["--host", "192.0.2.1", "--port", "0"], "--allow-public"),
        ([":0", "--api-key-file", "absent"], "No such file"),
        ([":0", "--api-key-file", "empty"], "is empty"),
        ([":0", "--tls-cert", "key"], "needs both"),
        ([":0", "--max-body", "many"], "max_body must be bytes"),
        ([":99999"], "at most 65535"),
    ],
)
def test_what_can_not_be_is_said(
    told: list[ServerSettings], place: Path, arguments: list[str], message: str
) -> None:
    (place / "empty").write_text("")
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert message in str(result.exception)
    assert told == []


def test_a_key_does_not_stand_in_the_configuration(
    told: list[ServerSettings], tmp_path: Path
) -> None:
    config = tmp_path / "blazen.toml"
    config.write_text("[server]\napi_key = 'sesame'\n")
    result = invoke("--config", str(config))
    assert "api_key_file" in str(result.exception)
    assert "sesame" not in str(result.exception)


def test_paths_of_the_configuration_begin_where_it_lies(
    told: list[ServerSettings], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("from the file")
    config = tmp_path / "blazen.toml"
    config.write_text("[server]\napi_key_file = 'key'\nchat_history = 'h.jsonl'\n")
    assert invoke("--config", str(config)).exit_code == 0
    key = told[0].api_key
    assert key is not None
    assert key.reveal() == "from the file"
    assert told[0].chat_history == str(tmp_path / "h.jsonl")


def test_an_unknown_setting_of_the_configuration(
    told: list[ServerSettings], tmp_path: Path
) -> None:
    config = tmp_path / "blazen.toml"
    config.write_text("[server]\nprot = 1\n")
    assert "port" in str(invoke("--config", str(config)).exception)


def test_a_port_that_is_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = place / "bare.toml"
        config.write_text("")
        result = CliRunner().invoke(command, [f":{port}", "--config", str(config)])
    assert result.exit_code == 1
    assert f"can't listen on 127.0.0.1:{port}" in str(result.exception)
    assert "--port" in str(result.exception)


def test_an_address_of_another_machine(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    config = place / "bare.toml"
    config.write_text("")
    arguments = ["192.0.2.1:0", "--allow-public", "--config", str(config)]
    result = CliRunner().invoke(command, arguments)
    assert "can't listen on 192.0.2.1" in str(result.exception)


def test_it_tells_where_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command in this process, ended from another thread."""
    from blazen.server import run as module

    monkeypatch.chdir(place)
    config = place / "bare.toml"
    config.write_text("[discover]\nstarters = false\ncache = false\nprograms = false\n")
    real = module.Server

    class Brief(real):  # type: ignore[misc,valid-type]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            self.should_exit = True

    monkeypatch.setattr(module, "Server", Brief)
    arguments = ["0.0.0.0:0", "--allow-public", "--config", str(config)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.exception
    assert "blazen serves at http://127.0.0.1:" in result.stderr
    assert "/v1" in result.stderr
    assert "there is no key" in result.stderr
    assert "nothing is encrypted" in result.stderr
    assert "there is no model yet" in result.stderr
    assert result.stdout == ""
