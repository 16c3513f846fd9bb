"""Numbers for Prometheus: counted, written as its own parser reads them, and served."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from blazen.errors import ValidationError
from blazen.manager import metrics as module
from blazen.manager.events import Event, EventKind
from blazen.manager.metrics import CONTENT_TYPE, Counters, MetricsServer, prometheus_text
from blazen.manager.status import ManagerStatus, ModelStatus, PoolStatus, State

parser = pytest.importorskip("prometheus_client.parser")

STATUS = ManagerStatus(
    pools=(
        PoolStatus("cpu", budget=1000, used=300, quarantined=100, foreign=50),
        PoolStatus("gpu:0", budget=500, used=0),
    ),
    models=(
        ModelStatus(
            "llm",
            State.Ready,
            ("complete",),
            charges={"cpu": 200},
            leases=2,
            uses=7,
            pinned=True,
            idle_seconds=0.25,
        ),
        ModelStatus("cloud", State.Remote, ("complete",), priority=-1),
    ),
    waiting=4,
    cores=8,
    cores_used=6,
)
EMPTY = ManagerStatus(pools=(), models=())
WAIT = 20


def happened(kind: EventKind, model: str = "llm", **more: Any) -> Event:
    return Event(kind, model, at=0.0, **more)


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read a text with Prometheus's own parser: each sample by its name and labels."""
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(dict(samples)) == len(samples)
    return dict(samples)


def value(text: str, name: str, **labels: str) -> float | None:
    return read(text).get((name, frozenset(labels.items())))


# Text


def test_what_there_is_now() -> None:
    text = prometheus_text(STATUS, Counters())
    assert value(text, "blazen_pool_budget_bytes", pool="cpu") == 1000
    assert value(text, "blazen_pool_used_bytes", pool="cpu") == 300
    assert value(text, "blazen_pool_quarantined_bytes", pool="cpu") == 100
    assert value(text, "blazen_pool_foreign_bytes", pool="cpu") == 50
    assert value(text, "blazen_pool_available_bytes", pool="cpu") == 650
    assert value(text, "blazen_pool_available_bytes", pool="gpu:0") == 500
    assert value(text, "blazen_model_state", model="llm", state="ready") == 1
    assert value(text, "blazen_model_state", model="cloud", state="remote") == 1
    assert value(text, "blazen_model_memory_bytes", model="llm", pool="cpu") == 200
    assert value(text, "blazen_model_leases", model="llm") == 2
    assert value(text, "blazen_model_uses", model="llm") == 7
    assert value(text, "blazen_model_pinned", model="llm") == 1
    assert value(text, "blazen_model_priority", model="cloud") == -1
    assert value(text, "blazen_model_idle_seconds", model="llm") == 0.25
    assert value(text, "blazen_model_idle_seconds", model="cloud") is None
    assert value(text, "blazen_waiting_requests") == 4
    assert value(text, "blazen_cores") == 8
    assert value(text, "blazen_cores_used") == 6


def test_each_metric_is_described_once_and_stands_together() -> None:
    counters = Counters()
    counters.add(happened(EventKind.Loaded, seconds=1.0, bytes={"cpu": 5}))
    counters.add(happened(EventKind.Loaded, "other", seconds=2.0, bytes={"cpu": 5}))
    lines = prometheus_text(STATUS, counters).splitlines()
    described = [line.split(" ")[2] for line in lines if line.startswith("# HELP")]
    typed = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
    assert described == typed
    assert len(set(described)) == len(described)
    current = ""
    for line in lines:
        if line.startswith("# TYPE"):
            _, _, current, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram")
            assert (kind == "counter") == current.endswith("_total")
        elif not line.startswith("#"):
            assert line.startswith(current)


def test_the_text_ends_with_a_line_end() -> None:
    assert prometheus_text(STATUS, Counters()).endswith("\n")
    assert read(prometheus_text(EMPTY, Counters())) == {
        ("blazen_waiting_requests", frozenset()): 0,
        ("blazen_cores", frozenset()): 0,
        ("blazen_cores_used", frozenset()): 0,
    }


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\nb", "a\\nb", 'x"} 1\nevil{y="', "模型", "a,b={}", ""]
)
def test_any_id_survives_as_a_label(name: str) -> None:
    counters = Counters()
    counters.add(happened(EventKind.Waiting, name))
    status = ManagerStatus(pools=(), models=(ModelStatus(name, State.Ready, (), leases=3),))
    text = prometheus_text(status, counters)
    assert value(text, "blazen_model_leases", model=name) == 3
    assert value(text, "blazen_waits_total", model=name) == 1


# Counters


@pytest.mark.parametrize(
    "kind, name",
    [
        (EventKind.Loaded, "loads"),
        (EventKind.LoadFailed, "load_failures"),
        (EventKind.Retrying, "load_retries"),
        (EventKind.Evicting, "evictions"),
        (EventKind.Unloaded, "unloads"),
        (EventKind.UnloadFailed, "unload_failures"),
        (EventKind.Waiting, "waits"),
        (EventKind.Refused, "refusals"),
        (EventKind.Spilled, "spill_overs"),
        (EventKind.Thrashing, "thrashings"),
    ],
)
def test_each_kind_is_counted_by_model(kind: EventKind, name: str) -> None:
    counters = Counters()
    for model in ("a", "b", "a"):
        counters.add(happened(kind, model))
    text = prometheus_text(EMPTY, counters)
    assert value(text, f"blazen_{name}_total", model="a") == 2
    assert value(text, f"blazen_{name}_total", model="b") == 1
    totals = {
        key: count
        for key, count in read(text).items()
        if key[0].endswith("_total") and key[0] != f"blazen_{name}_total"
    }
    assert set(totals.values()) == {0}


def test_every_event_can_be_added() -> None:
    counters = Counters()
    for kind in EventKind:
        counters.add(happened(kind))
    read(prometheus_text(EMPTY, counters))


def test_loads_fill_a_histogram_and_bytes_add_up() -> None:
    counters = Counters()
    for took in (0.05, 0.1, 0.3, 7.0, 1000.0):
        counters.add(happened(EventKind.Loaded, seconds=took, bytes={"cpu": 10, "gpu:0": 1}))
    counters.add(happened(EventKind.Loaded))  # how long is not known
    counters.add(happened(EventKind.Unloaded, seconds=5.0, bytes={"cpu": 10}))
    text = prometheus_text(EMPTY, counters)
    assert value(text, "blazen_loaded_bytes_total", model="llm", pool="cpu") == 50
    assert value(text, "blazen_loaded_bytes_total", model="llm", pool="gpu:0") == 5

    def below(most: str) -> float | None:
        return value(text, "blazen_load_seconds_bucket", model="llm", le=most)

    assert [below(most) for most in ("0.1", "0.25", "0.5", "5.0", "10.0", "300.0", "+Inf")] == [
        2, 2, 3, 3, 4, 4, 5,
    ]  # fmt: skip
    assert value(text, "blazen_load_seconds_count", model="llm") == 5
    total = value(text, "blazen_load_seconds_sum", model="llm")
    assert total is not None
    assert math.isclose(total, 1007.45)


def test_an_unregistered_model_is_forgotten() -> None:
    counters = Counters()
    counters.add(happened(EventKind.Waiting, "a"))
    counters.add(happened(EventKind.Waiting, "b"))
    counters.add(happened(EventKind.Unregistered, "a"))
    counters.add(happened(EventKind.Unregistered, "never seen"))
    text = prometheus_text(EMPTY, counters)
    assert value(text, "blazen_waits_total", model="a") is None
    assert value(text, "blazen_waits_total", model="b") == 1


def test_threads_count_together() -> None:
    counters = Counters()

    def count() -> None:
        for number in range(500):
            counters.add(happened(EventKind.Waiting, str(number % 3)))
            if number % 100 == 0:
                prometheus_text(EMPTY, counters)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = prometheus_text(EMPTY, counters)
    waits = [count for (name, _), count in read(text).items() if name == "blazen_waits_total"]
    assert sum(waits) == 2000


# The server


async def ask(server: MetricsServer, request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Send bytes to the server, and read its answer to the end of the connection."""
    host, port = server.url.removeprefix("http://").removesuffix("/metrics").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), WAIT)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.decode("ascii").split("\r\n")
    return first, dict(field.split(": ", 1) for field in fields), body


async def connect(server: MetricsServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.url.removeprefix("http://").removesuffix("/metrics").rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


async def test_metrics_are_served_to_a_usual_client() -> None:
    async with MetricsServer(lambda: "blazen_é 1\n", port=0) as server:
        assert server.url.startswith("http://127.0.0.1:")

        def get() -> tuple[int, str | None, bytes]:
            with urllib.request.urlopen(server.url, timeout=WAIT) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()

        answer = await asyncio.to_thread(get)
    assert answer == (200, CONTENT_TYPE, "blazen_é 1\n".encode())


async def test_each_answer_is_fresh() -> None:
    texts = iter(["one\n", "two\n"])
    async with MetricsServer(lambda: next(texts), port=0) as server:
        for expected in (b"one\n", b"two\n"):
            _, _, body = await ask(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert body == expected


async def test_head_gives_what_get_does_but_the_text() -> None:
    async with MetricsServer(lambda: "some text\n", port=0) as server:
        first, fields, body = await ask(server, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (first, body) == ("HTTP/1.1 200 OK", b"")
    assert fields["Content-Length"] == "10"
    assert fields["Content-Type"] == CONTENT_TYPE


@pytest.mark.parametrize(
    "request_line, status",
    [
        ("GET /metrics?collect[]=x HTTP/1.0", 200),
        ("GET / HTTP/1.1", 404),
        ("GET /metrics/ HTTP/1.1", 404),
        ("POST / HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("get /metrics HTTP/1.1", 405),
        ("GET /metrics", 400),
        ("GET  /metrics HTTP/1.1", 400),
        ("PRI * HTTP/2.0", 400),
        ("", 400),
        ("\x16\x03\x01\x02\xff\xfe", 400),
    ],
)
async def test_other_requests_are_told_off(request_line: str, status: int) -> None:
    calls = []
    async with MetricsServer(lambda: calls.append(1) or "text\n", port=0) as server:
        request = f"{request_line}\r\nHost: x\r\n\r\n".encode("latin-1")
        first, fields, body = await ask(server, request)
    assert first.startswith(f"HTTP/1.1 {status} ")
    assert int(fields["Content-Length"]) == len(body) > 0
    assert fields["Connection"] == "close"
    assert fields.get("Allow") == ("GET, HEAD" if status == 405 else None)
    assert len(calls) == (status == 200)


async def test_a_huge_request_is_refused() -> None:
    async with MetricsServer(lambda: "", port=0) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (16 << 10))
        first = await asyncio.wait_for(reader.readline(), WAIT)
        writer.close()
        await writer.wait_closed()
    assert first.startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_stops_in_the_middle_does_no_harm() -> None:
    async with MetricsServer(lambda: "text\n", port=0) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /metr")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), WAIT) == b""
        writer.close()
        await writer.wait_closed()
        _, _, body = await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert body == b"text\n"


async def test_a_client_that_dawdles_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 0.05)
    async with MetricsServer(lambda: "text\n", port=0) as server:
        reader, writer = await connect(server)
        assert await asyncio.wait_for(_rest(reader), WAIT) == b""
        writer.close()
        await writer.wait_closed()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_what_fails_in_writing_the_text_is_told_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> str:
        raise RuntimeError("a private matter")

    async with MetricsServer(fail, port=0) as server:
        for _ in range(2):  # and it serves on
            first, _, body = await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert first == "HTTP/1.1 500 Internal Server Error"
            assert b"private" not in body
    assert "a private matter" in caplog.text


async def test_a_slow_text_does_not_hold_up_the_loop() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert may_end.wait(WAIT)
        return "text\n"

    async with MetricsServer(slow, port=0) as server:
        asking = asyncio.create_task(ask(server, b"GET /metrics HTTP/1.1\r\n\r\n"))
        assert await asyncio.to_thread(begun.wait, WAIT)
        first, _, _ = await ask(server, b"GET /other HTTP/1.1\r\n\r\n")
        assert first == "HTTP/1.1 404 Not Found"
        may_end.set()
        assert (await asking)[2] == b"text\n"


async def test_leaving_closes_the_port_and_every_connection() -> None:
    async with MetricsServer(lambda: "text\n", port=0) as server:
        url = server.url
        reader, writer = await connect(server)
        writer.write(b"GET /metrics HTTP/1.1\r\n")  # and no more
        await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")  # by now the other is being served
    assert await asyncio.wait_for(_rest(reader), WAIT) == b""
    writer.close()
    await writer.wait_closed()
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(urllib.request.urlopen, url, timeout=WAIT)


def test_it_serves_again_on_another_loop() -> None:
    server = MetricsServer(lambda: "text\n", port=0)

    async def serve() -> bytes:
        async with server:
            return (await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n"))[2]

    assert [asyncio.run(serve()) for _ in range(2)] == [b"text\n"] * 2


async def test_a_port_that_is_taken_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with MetricsServer(lambda: "", port=0) as server:
        assert server.url in caplog.text
        port = int(server.url.rsplit(":", 1)[1].removesuffix("/metrics"))
        with pytest.raises(ValidationError, match=f"127.0.0.1:{port}") as caught:
            await MetricsServer(lambda: "", port=port).__aenter__()
        assert isinstance(caught.value.__cause__, OSError)


async def test_it_is_entered_once_at_a_time_and_has_no_url_outside() -> None:
    server = MetricsServer(lambda: "", port=0)
    for _ in range(2):
        with pytest.raises(ValidationError, match="enter it first"):
            _ = server.url
        async with server:
            with pytest.raises(ValidationError, match="already"):
                await server.__aenter__()
            assert server.url


@pytest.mark.parametrize("port", [-1, 65_536, "80", 1.5])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(ValidationError, match="port must be"):
        MetricsServer(lambda: "", port=port)


async def test_an_address_of_version_6_is_written_in_brackets() -> None:
    try:
        async with MetricsServer(lambda: "text\n", host="::1", port=0) as server:
            assert server.url.startswith("http://[::1]:")
            _, _, body = await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert body == b"text\n"
    except ValidationError:
        pytest.skip("this machine has no IPv6")
