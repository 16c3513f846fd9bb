"""``blazen ps``: what a server says, or why it says nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.machine import in_a_process, json_of

pytestmark = pytest.mark.needs("cli")

STATUS: dict[str, Any] = {
    "pools": [{"name": "cpu", "budget": 4_000_000_000, "used": 1_000_000_000}],
    "models": [
        {
            "name": "starter:chat",
            "kind": "model",
            "state": "ready",
            "charges": {"cpu": 1_000_000_000},
            "leases": 2,
            "waiting": 0,
            "keep_alive": 300.0,
            "idle_seconds": 75.5,
            "problem": "",
        },
        {"name": "vectors", "kind": "embedding", "state": "loading", "pinned": True},
        {"name": "sleeps", "kind": "tts", "state": "unloaded"},
    ],
    "waiting": 3,
}


@contextmanager
def answering(
    body: bytes, status: int = 200, *, key: str | None = None, **headers: str
) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer, and what paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *given: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            allowed = key is None or self.headers.get("Authorization") == f"Bearer {key}"
            self.send_response(status if allowed else 401)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if allowed else b"{}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_is_loaded(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # not for this machine
    with answering(json.dumps(STATUS).encode()) as (url, asked):
        done = cli("ps", "--url", f"{url}/")
        assert done.exit_code == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert rows == [
            ["starter:chat", "chat", "ready", "1.0 GB cpu", "2", "", "1 min 15 s", "5 min 0 s", ""],
            ["vectors", "embedding", "loading", "", "", "", "", "pinned", ""],
        ]
        assert "cpu: 1.0 GB of 4.0 GB (25%)" in done.stderr
        assert "waiting: 3" in done.stderr
        every = cli("ps", "--url", url, "--all").stdout.splitlines()
        assert every[2].startswith("sleeps\tspeech\tunloaded")
        assert json_of(cli("ps", "--url", url, "--json")) == STATUS
    assert set(asked) == {"/api/models"}


def test_nothing_loaded_is_said(cli: Cli) -> None:
    with answering(b'{"models": [], "pools": "odd"}') as (url, _):
        done = cli("ps", "--url", url)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "No model is loaded." in done.stderr
        assert "The server has no models." in cli("ps", "--url", url, "--all").stderr


def test_a_key_is_sent_and_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(json.dumps(STATUS).encode(), key="secret") as (url, _):
        refused = cli("ps", "--url", url)
        assert refused.exit_code == 5
        assert f"{url} wants its key: --key KEY" in refused.stderr
        assert cli("ps", "--url", url, "--key", "secret").exit_code == 0
        monkeypatch.setenv("BLAZEN_API_KEY", "secret")
        assert cli("ps", "--url", url).exit_code == 0
    odd = cli("ps", "--url", url, "--key", "a\nb")
    assert odd.exit_code == 2
    assert "no header can carry" in odd.stderr


def test_where_no_server_runs(cli: Cli) -> None:
    with answering(b"") as (url, _):
        pass
    done = cli("ps", "--url", url)
    assert done.exit_code == 5
    assert done.stderr.strip() == f"blazen: no server runs at {url}: 'blazen serve' starts one"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"<html>", 200, "is no blazen server: b'<html>'"),
        (b"[]", 200, "is no blazen server"),
        (b"\xff", 200, "is no blazen server"),
        (b"{}", 404, "it has no /api/models"),
        (b"{}", 500, "answered 500"),
    ],
)
def test_what_answers_otherwise_is_no_blazen_server(
    cli: Cli, body: bytes, status: int, words: str
) -> None:
    with answering(body, status) as (url, _):
        done = cli("ps", "--url", url)
    assert done.exit_code == 5
    assert words in done.stderr


def test_the_key_follows_no_redirect(cli: Cli) -> None:
    with (
        answering(b"{}") as (other, asked),
        answering(b"", 302, Location=f"{other}/elsewhere") as (url, _),
    ):
        done = cli("ps", "--url", url, "--key", "secret")
    assert done.exit_code == 5
    assert "answered 302" in done.stderr
    assert asked == []


def test_an_answer_without_end_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from blazen.cli import asking_server

    monkeypatch.setattr(asking_server, "_LARGEST", 10)
    with answering(json.dumps(STATUS).encode()) as (url, _):
        assert "is no blazen server" in cli("ps", "--url", url).stderr


@pytest.mark.parametrize(
    "url", ["localhost:8642", "file:///etc/passwd", "http://", "http://a b", "http://[x"]
)
def test_what_is_no_url_is_refused(cli: Cli, url: str) -> None:
    done = cli("ps", "--url", url)
    assert done.exit_code == 2
    assert "--url takes a URL such as" in done.stderr


def test_a_server_that_does_not_answer_is_named(cli: Cli) -> None:
    done = cli("ps", "--url", "http://name.invalid")
    assert done.exit_code == 5
    assert "http://name.invalid does not answer" in done.stderr


def test_a_certificate_must_be_one(cli: Cli, place: Path) -> None:
    (place / "ca.pem").write_text("no certificate")
    done = cli("ps", "--url", "https://127.0.0.1:9", "--ca", "ca.pem")
    assert done.exit_code == 2
    assert "ca.pem is no certificate" in done.stderr


def test_as_a_process() -> None:
    with answering(json.dumps(STATUS).encode()) as (url, _):
        done = in_a_process("ps", "--url", url)
        assert done.returncode == 0
        assert done.stdout.startswith("starter:chat\tchat\tready")
    assert in_a_process("ps", "--url", url).returncode == 5
