"""How much a client may send, how slowly, and how many at once."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from blazen.catalog import Catalog
from blazen.server.failures import Refusal
from blazen.server.guard.json_shape import JsonShape
from tests.server.conftest import RunningServer, running
from tests.server.probe import Probe, connected, is_gone, read_all, until

pytestmark = pytest.mark.needs("server")

probe = Probe()


@pytest.fixture(scope="module")
def small(echo_catalog: Catalog) -> Iterator[RunningServer]:
    """A server that takes little and waits briefly."""
    with running(
        echo_catalog,
        more=probe.router,
        max_headers=20,
        max_header_bytes="8KiB",
        max_body="64KiB",
        max_upload="256KiB",
        max_buffered="300KiB",
        max_json_depth=8,
        max_json_values=1000,
        max_connections=24,
        max_requests=2,
        max_waiting=1,
        header_timeout=0.5,
        body_timeout=0.5,
        write_timeout=0.5,
        idle_timeout=1.0,
        heartbeat=0.1,
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh() -> None:
    probe.reset()


def post(server: RunningServer, path: str, **more: object) -> httpx.Response:
    return httpx.post(server.url + path, timeout=20, **more)


# Heads


def head_of(lines: list[str]) -> bytes:
    return "\r\n".join(["GET /v1/none HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{n}: 1" for n in range(21)],
        ["X-Long: " + "a" * 9000],
        [f"X-{n}: {'b' * 50}" for n in range(10_000)],
    ],
)
def test_too_much_of_a_head(small: RunningServer, lines: list[str]) -> None:
    with connected(small.port) as connection:
        with contextlib.suppress(ConnectionError):  # it may be refused before all was sent
            connection.sendall(head_of(lines))
        answer = read_all(connection)
    # The system may throw the answer away where the client went on writing.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert httpx.get(small.url + "/v1/none").status_code == 404


def test_a_head_without_end_is_cut_off(small: RunningServer) -> None:
    with connected(small.port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_word_is_cut_off(small: RunningServer) -> None:
    with connected(small.port) as connection:
        assert is_gone(connection)


def test_a_head_that_comes_by_drops_is_cut_off(small: RunningServer) -> None:
    with connected(small.port) as connection:
        stop = threading.Event()

        def drip() -> None:
            for byte in head_of([]) + b"x" * 10_000:
                if stop.wait(0.05):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert is_gone(connection)
        stop.set()
        dripping.join()


def test_a_kept_connection_is_not_kept_for_ever(small: RunningServer) -> None:
    with connected(small.port) as connection:
        connection.sendall(head_of([]))
        assert b" 404 " in connection.recv(65536)
        assert is_gone(connection)


@pytest.mark.parametrize("text", [b"\x16\x03\x01\x02\x00hello", b"nonsense\r\n\r\n", b"\x00" * 50])
def test_what_is_no_http(small: RunningServer, text: bytes) -> None:
    with connected(small.port) as connection:
        connection.sendall(text)
        assert read_all(connection).startswith(b"HTTP/1.1 40")


# Bodies


def test_a_body_within_the_limit(small: RunningServer) -> None:
    text = "a" * 60_000
    assert post(small, "/v1/probe/echo", json=[text]).json() == [text]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit(small: RunningServer, chunked: bool) -> None:
    data = b'"' + b"a" * 100_000 + b'"'
    pieces = (data[n : n + 10_000] for n in range(0, len(data), 10_000))
    kind = {"Content-Type": "application/json"}
    answer = post(small, "/v1/probe/echo", content=pieces if chunked else data, headers=kind)
    assert answer.status_code == 413
    assert "65,536" in answer.json()["error"]["message"]
    assert answer.headers["connection"] == "close"


def test_an_upload_has_a_limit_of_its_own(small: RunningServer) -> None:
    within = post(small, "/v1/probe/size", files={"file": b"a" * 200_000})
    assert within.json()["size"] > 200_000
    assert post(small, "/v1/probe/size", files={"file": b"a" * 300_000}).status_code == 413


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("[" * 8 + "]" * 8, 200),
        ("[" * 9 + "]" * 9, 400),
        ("[" * 60_000, 400),
        ('{"a":' * 9 + "1" + "}" * 9, 400),
        ("[" + "1," * 20_000 + "1]", 413),
        ('["' + "[" * 50_000 + '"]', 200),
        ('["' + "\\\\" * 9 + '"]', 200),
        ('["\\\\\\"' + "[" * 20 + '"]', 200),
    ],
)
def test_the_shape_of_json(small: RunningServer, text: str, status: int) -> None:
    kind = {"Content-Type": "application/json"}
    answer = post(small, "/v1/probe/echo", content=text.encode(), headers=kind)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json() == json.loads(text)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_the_shape_is_the_same_in_whatever_pieces_it_comes(step: int) -> None:
    inner = 'a "quoted" \\ text with [[[[ and \\" \\\\'
    text = json.dumps([{"k": [inner, {"x": inner}]}] * 3).encode()

    def feed(depth: int) -> None:
        shape = JsonShape(depth=depth, values=1000)
        for start in range(0, len(text), step):
            shape.feed(text[start : start + step])

    feed(4)
    with pytest.raises(Refusal, match="3 lists"):
        feed(3)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_json_in_another_encoding_is_not_taken(small: RunningServer, encoding: str) -> None:
    kind = {"Content-Type": "application/json"}
    answer = post(small, "/v1/probe/echo", content="[1]".encode(encoding), headers=kind)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 200),  # as `curl -d` says
        ({}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/xml"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
def test_types_of_bodies(small: RunningServer, headers: dict[str, str], status: int) -> None:
    assert post(small, "/v1/probe/echo", content=b"[1]", headers=headers).status_code == status


def test_a_body_that_does_not_come(small: RunningServer) -> None:
    head = b"POST /v1/probe/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    with connected(small.port) as connection:
        connection.sendall(head + b'["begun')
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive in time" in answer


def test_bodies_together_have_a_limit(small: RunningServer) -> None:
    head = b"POST /v1/probe/size HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
    kind = b"multipart/form-data; boundary=x"
    with connected(small.port) as connection:
        connection.sendall(head % kind + b"Content-Length: 250000\r\n\r\n" + b"a" * 240_000)
        room = small.app.user_middleware[0]
        assert room.kwargs["settings"].max_buffered == 300 * 1024
        answer = until(lambda: _full(small))
        assert answer.headers["retry-after"] == "5"
    until(lambda: post(small, "/v1/probe/size", files={"f": b"a" * 200_000}).status_code == 200)


def _full(server: RunningServer) -> httpx.Response | None:
    answer = post(server, "/v1/probe/size", files={"f": b"a" * 200_000})
    return answer if answer.status_code == 503 else None


# How many at once


def test_requests_wait_for_their_turn_and_the_queue_ends(small: RunningServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(post, small, "/v1/probe/hold", json={}) for _ in range(2)]
        until(lambda: small.service.counters.going == 2)
        waits = pool.submit(post, small, "/v1/probe/echo", json=[7])
        until(lambda: small.service.counters.waiting == 1)
        refused = post(small, "/v1/probe/echo", json=[8])
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert "2 requests are worked on and 1 wait" in refused.json()["error"]["message"]
        assert httpx.get(small.url + "/metrics").status_code == 200  # a look needs no turn
        probe.release.set()
        assert [answer.result().status_code for answer in held] == [200, 200]
        assert waits.result().json() == [7]
    until(lambda: small.service.counters.going == 0)


def test_a_new_connection_takes_the_place_of_an_idle_one(small: RunningServer) -> None:
    with connected(small.port) as first:
        first.sendall(head_of([]))
        assert b" 404 " in first.recv(65536)
        rest = [connected(small.port) for _ in range(40)]
        for manager in rest:
            manager.__enter__()
        assert is_gone(first)
        for manager in rest:
            manager.__exit__(None, None, None)
    assert httpx.get(small.url + "/v1/none").status_code == 404


def test_where_all_connections_work_the_next_is_told(echo_catalog: Catalog) -> None:
    own = Probe()
    ask = b"GET /v1/probe/endless HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        running(echo_catalog, more=own.router, max_connections=1) as server,
        connected(server.port) as busy,
    ):
        busy.sendall(ask)
        assert own.begun.wait(60)
        with connected(server.port) as late:
            answer = read_all(late)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("too many connections")


def test_an_answer_that_nobody_reads_is_given_up(small: RunningServer) -> None:
    with connected(small.port) as connection:
        connection.sendall(b"GET /v1/probe/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert probe.ended.wait(30)


def test_a_client_that_sends_on_hears_the_refusal(small: RunningServer) -> None:
    data = b"a" * 2_000_000
    kind = {"Content-Type": "application/json"}
    assert post(small, "/v1/probe/echo", content=data, headers=kind).status_code == 413
