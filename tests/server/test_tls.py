"""TLS: who has the certificate is believed, and handshakes that never end kill nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from blazen.catalog import Catalog
from blazen.errors import ValidationError
from blazen.server.guard.door import tls_context
from blazen.server.settings import ServerSettings
from tests.server.conftest import RunningServer, running
from tests.server.probe import Probe, connected, is_gone, read_all, until

pytestmark = pytest.mark.needs("server")

IDLE = 300


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


@pytest.fixture(scope="module")
def secure(echo_catalog: Catalog, files: tuple[Path, Path]) -> Iterator[RunningServer]:
    with running(
        echo_catalog,
        more=Probe().router,
        tls_cert=files[0],
        tls_key=files[1],
        max_handshakes=8,
        handshake_timeout=1.0,
        header_timeout=1.0,
    ) as server:
        yield server


def test_requests_over_tls(secure: RunningServer, context: ssl.SSLContext) -> None:
    assert secure.url.startswith("https://")
    with httpx.Client(verify=context, base_url=secure.url) as client:
        for number in range(5):  # on one connection
            assert client.post("/v1/probe/echo", json=[number]).json() == [number]
        own = {"Origin": secure.url}
        assert client.post("/v1/probe/echo", json=[1], headers=own).json() == [1]


def test_a_request_that_comes_with_the_handshake_s_last_word(
    secure: RunningServer, context: ssl.SSLContext
) -> None:
    for _ in range(20):
        with connected(secure.port, context=context) as connection:
            connection.sendall(
                b"POST /v1/probe/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Length: 3\r\n\r\n[1]"
            )
            assert read_all(connection).endswith(b"[1]")


def test_old_versions_are_not_spoken(secure: RunningServer, context: ssl.SSLContext) -> None:
    with connected(secure.port, context=context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


def test_what_is_no_handshake_is_cut_off(secure: RunningServer) -> None:
    with connected(secure.port) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert is_gone(plain)


def test_a_handshake_without_end_is_cut_off(secure: RunningServer) -> None:
    with connected(secure.port) as silent:
        assert is_gone(silent)


def test_a_connection_that_only_shakes_hands_is_cut_off(
    secure: RunningServer, context: ssl.SSLContext
) -> None:
    with connected(secure.port, context=context) as connection:
        assert b" 408 " in read_all(connection)


def test_many_idle_connections_keep_nobody_out(
    secure: RunningServer, context: ssl.SSLContext
) -> None:
    door = secure.server._door
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            try:
                stack.enter_context(socket.create_connection(("127.0.0.1", secure.port), 20))
            except OSError:
                break  # the system's own queue is full: that is as good
            assert len(door.handshakes) <= 8
        until(lambda: _answers(secure, context))
    until(lambda: not door.handshakes)


def _answers(server: RunningServer, context: ssl.SSLContext) -> bool:
    try:
        answer = httpx.post(server.url + "/v1/probe/echo", json=[1], verify=context, timeout=10)
    except httpx.TransportError:
        return False
    return answer.json() == [1]


def test_files_that_are_no_certificate(files: tuple[Path, Path], tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    for cert, key in ((nothing, files[1]), (files[0], nothing), (files[0], tmp_path / "absent")):
        with pytest.raises(ValidationError, match="give a certificate and its key"):
            tls_context(ServerSettings(tls_cert=cert, tls_key=key))
