"""A client that goes stops its generation: the manager has the model back."""

from __future__ import annotations

import json

import pytest

from tests.server.conftest import RunningServer
from tests.server.probe import connected, until

LONG = [{"role": "user", "content": "Count from one to one thousand, in words."}]
REQUESTS = {
    "/v1/chat/completions": {"messages": LONG, "max_tokens": 1900},
    "/v1/completions": {"prompt": "One, two, three, four,", "max_tokens": 1900},
    "/api/chat": {"messages": LONG, "options": {"num_predict": 1900}},
    "/api/generate": {"prompt": "Count to a thousand.", "options": {"num_predict": 1900}},
    "/generate": {"prompt": "Count to a thousand.", "max_tokens": 1900},
}


def leases(server: RunningServer, name: str) -> int:
    return sum(model.leases for model in server.manager.status().models if model.id == name)


def send(server: RunningServer, path: str, body: dict[str, object]) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + text


@pytest.mark.needs("server", "xllamacpp", "starter:chat")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", REQUESTS)
def test_a_client_that_goes_stops_its_generation(
    server: RunningServer, path: str, stream: bool
) -> None:
    body = {**REQUESTS[path], "model": "chat", "stream": stream}
    with connected(server.port) as connection:
        connection.sendall(send(server, path, body))
        until(lambda: leases(server, "chat") == 1)
        if stream:
            assert b" 200 " in connection.recv(65536)
    until(lambda: leases(server, "chat") == 0)
    until(lambda: server.service.counters.going == 0)


@pytest.mark.needs("server")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [path for path in REQUESTS if path != "/v1/completions"])
def test_the_same_of_an_engine_that_is_slow(
    echo_server: RunningServer, path: str, stream: bool
) -> None:
    body = {**REQUESTS[path], "model": "slow-echo", "stream": stream}
    with connected(echo_server.port) as connection:
        connection.sendall(send(echo_server, path, body))
        until(lambda: leases(echo_server, "slow-echo") == 1)
    until(lambda: leases(echo_server, "slow-echo") == 0)
    until(lambda: echo_server.service.counters.going == 0)
