"""Answers that come piece by piece, and what becomes of them when somebody goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from blazen.catalog import Catalog
from tests.server.conftest import RunningServer, running
from tests.server.probe import Probe, connected, until

pytestmark = pytest.mark.needs("server")

probe = Probe()


@pytest.fixture(scope="module")
def streams(echo_catalog: Catalog) -> Iterator[RunningServer]:
    with running(echo_catalog, more=probe.router, heartbeat=0.05) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh() -> None:
    probe.reset()


def stream(server: RunningServer, **body: Any) -> str:
    answer = httpx.post(server.url + "/v1/probe/stream", json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    return answer.text


def test_events_are_written_as_browsers_read_them(streams: RunningServer) -> None:
    assert stream(streams, count=2) == (
        'data: {"n":0,"text":"ü"}\n\n'
        'data: {"n":1,"text":"ü"}\n\n'
        "event: last\ndata: two\ndata: lines\n\n"
        "data: [DONE]\n\n"
    )


def test_half_a_character_breaks_no_stream(streams: RunningServer) -> None:
    first = stream(streams, count=1, odd=True).partition("\n\n")[0]
    assert json.loads(first.removeprefix("data: "))["text"] == "ü\ud83d"


def test_an_error_in_mid_stream_is_worded_as_the_api_does(streams: RunningServer) -> None:
    events = stream(streams, count=5, fail_at=2).split("\n\n")
    error = json.loads(events[2].removeprefix("data: "))["error"]
    assert error == {
        "message": "the engine stumbled",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    assert events[3:] == ["data: [DONE]", ""]
    assert probe.ended.is_set()


def test_a_mistake_in_mid_stream_tells_nothing(
    streams: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    text = stream(streams, count=5, break_at=1)
    assert "secret" not in text
    assert "internal error" in text
    assert "a secret of the code" in caplog.text


def test_an_error_before_the_first_event_is_an_answer(streams: RunningServer) -> None:
    body = {"count": 5, "fail_at": 0}
    answer = httpx.post(streams.url + "/v1/probe/stream", json=body, timeout=60)
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "the engine stumbled"


def test_lines_of_json(streams: RunningServer) -> None:
    url = streams.url + "/v1/probe/lines"
    answer = httpx.post(url, json={"count": 2}, timeout=60)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == '{"n":0}\n{"n":1}\n'
    failed = httpx.post(url, json={"count": 2, "fail_at": 1}, timeout=60)
    assert failed.text == '{"n":0}\n{"error":"the engine stumbled"}\n'


def test_a_quiet_stream_says_that_it_is_alive(streams: RunningServer) -> None:
    with httpx.stream("GET", streams.url + "/v1/probe/quiet", timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": still here"
        probe.release.set()
        rest = [line for line in lines if line and not line.startswith(":")]
    assert rest == ['data: {"late":true}']


@pytest.mark.parametrize("half", [False, True])
def test_a_client_that_goes_ends_its_stream(streams: RunningServer, half: bool) -> None:
    body = json.dumps({"count": 10**9, "pause": 0.01})
    head = f"POST /v1/probe/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with connected(streams.port) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
        assert b"200 OK" in connection.recv(65536)
        if half:
            connection.shutdown(1)
            assert probe.ended.wait(60)
    assert probe.ended.wait(60)
    until(lambda: streams.service.counters.going == 0)


def test_a_client_that_goes_ends_its_work(streams: RunningServer) -> None:
    with connected(streams.port) as connection:
        head = b"POST /v1/probe/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
        connection.sendall(head)
        assert probe.begun.wait(60)
    assert probe.ended.wait(60)
    until(lambda: streams.service.counters.going == 0)
    seen = until(lambda: [line for line in counted(streams) if "/v1/probe/work" in line])
    assert any('status="499"' in line for line in seen)


def counted(server: RunningServer) -> list[str]:
    text = httpx.get(server.url + "/metrics").text
    return [line for line in text.splitlines() if line.startswith("blazen_http_requests_total")]


def test_the_servers_end_ends_streams(echo_catalog: Catalog) -> None:
    own = Probe()
    url = ""
    with running(echo_catalog, more=own.router, shutdown_timeout=0.2) as server:
        url = server.url
        client = httpx.Client(timeout=60)
        endless = client.send(client.build_request("GET", url + "/v1/probe/endless"), stream=True)
        body = {"count": 10**9, "pause": 0.01}
        request = client.build_request("POST", url + "/v1/probe/stream", json=body)
        working = client.send(request, stream=True)
        assert own.begun.wait(60)
    # Both end whole: neither client is cut off in the middle of a piece.
    assert b"".join(endless.iter_raw()).endswith(b"\n\n")
    said = b"".join(working.iter_raw())
    assert b"the server is stopping" in said[-200:]
    client.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/health")
