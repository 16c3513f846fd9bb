"""Servers to ask: real ones on a free port of this machine, in a thread of their own."""

from __future__ import annotations

import contextlib
import os
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from blazen.catalog import Catalog
from blazen.catalog.opening import backend_kinds
from tests.server.browsing import browser, visit  # noqa: F401 - fixtures

READY = all(map(find_spec, ("fastapi", "uvicorn", "httpx", "click", "trustme")))
if not READY and os.environ.get("BLAZEN_REQUIRE_ALL") != "1":
    collect_ignore_glob = ["test_*.py"]  # a complete environment fails instead

if READY:
    from fastapi import APIRouter

    from blazen.server.app import create_app
    from blazen.server.run import Server
    from blazen.server.settings import ServerSettings

STARTERS = """
[discover]
starters = false
cache = false
programs = false

[models.chat]
spec = "xllamacpp:starter:chat"

[models.embed]
spec = "fastembed:starter:embed"
kind = "embedding"

[models.transcribe]
spec = "whispercpp:starter:transcribe"
kind = "transcription"

[models.speak]
spec = "piper:starter:speak"
kind = "tts"
"""

ECHOES = """
[discover]
starters = false
cache = false
programs = false

[models.echo]
spec = "echo:echo"
memory = "1MiB"

[models.slow-echo]
spec = "echo:echo"
memory = "1MiB"
options = { piece_delay = 0.02, repeat = 2000 }

[models.echo-embed]
spec = "echo:echo"
memory = "1MiB"
kind = "embedding"

[models.echo-hear]
spec = "echo:echo"
memory = "1MiB"
kind = "transcription"

[models.echo-speak]
spec = "echo:echo"
memory = "1MiB"
kind = "tts"

[models.echo-image]
spec = "echo:echo"
memory = "1MiB"
kind = "image"

[models.echo-mesh]
spec = "echo:echo"
memory = "1MiB"
kind = "three_d"

[models.echo-rerank]
spec = "echo:echo"
kind = "rerank"
memory = "1MiB"
"""

ENTRY_POINTS = """
[blazen.model]
echo = blazen.testing:EchoModel
[blazen.embedding]
echo = blazen.testing:EchoEmbedding
[blazen.transcription]
echo = blazen.testing:EchoTranscription
[blazen.tts]
echo = blazen.testing:EchoTTS
[blazen.image]
echo = blazen.testing:EchoImage
[blazen.three_d]
echo = blazen.testing:EchoMesh
[blazen.rerank]
echo = blazen.testing:EchoReranker
"""


class RunningServer:
    """A server that runs: its address, its application, and what it works with."""

    def __init__(
        self, catalog: Catalog, settings: ServerSettings, more: APIRouter | None = None
    ) -> None:
        self.settings = settings
        self.app = create_app(catalog, settings)
        if more is not None:
            self.app.include_router(more)
        self.server = Server(self.app, settings)
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def service(self) -> Any:
        return self.app.state.service

    @property
    def manager(self) -> Any:
        return self.service.manager

    def start(self) -> None:
        self._thread.start()
        assert self.server.listening.wait(120), "the server did not start"
        assert self.server.started, "the server failed to start"

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "the server did not stop"


@contextlib.contextmanager
def running(
    catalog: Catalog, *, more: APIRouter | None = None, **settings: Any
) -> Iterator[RunningServer]:
    """Run a server on a free port; ``**settings`` are those of `ServerSettings`."""
    chosen = {"port": 0, "shutdown_timeout": 2.0, **settings}
    server = RunningServer(catalog, ServerSettings(**chosen), more)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def leases(server: RunningServer, name: str) -> int:
    """Count who holds a model."""
    status = next(model for model in server.manager.status().models if model.id == name)
    return int(status.leases)


def wait_for(there: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


def read_catalog(folder: Path, text: str) -> Catalog:
    """Read a catalogue from the text of a configuration file."""
    file = folder / "blazen.toml"
    file.write_text(textwrap.dedent(text), "utf-8")
    return Catalog.read(file)


def echo_package(folder: Path) -> Path:
    """Write what makes ``echo`` a backend for whoever has the folder in their path."""
    info = folder / "blazen_echo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blazen-echo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(scope="module")
def echo_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalogue of echo models: echo, slow-echo, echo-embed, echo-hear, and so on."""
    folder = echo_package(tmp_path_factory.mktemp("echo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        backend_kinds.cache_clear()
        yield read_catalog(folder, ECHOES)
    backend_kinds.cache_clear()


@pytest.fixture(scope="module")
def echo_server(echo_catalog: Catalog) -> Iterator[RunningServer]:
    """A server of echo models: for the logic of routes."""
    with running(echo_catalog) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of the starter models, each loaded when it is asked for.

    They are called chat, embed, transcribe and speak. Whoever uses it says what it needs:
    ``pytest.mark.needs("server", "xllamacpp", "starter:chat")``.
    """
    catalog = read_catalog(tmp_path_factory.mktemp("models"), STARTERS)
    with running(catalog) as server:
        yield server
