"""The numbers of the server, as Prometheus reads them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest

from blazen.catalog import Catalog
from blazen.errors import ValidationError
from blazen.server.history import History
from blazen.server.metrics import RequestCounters
from tests.server.conftest import RunningServer, running

pytestmark = pytest.mark.needs("server")


def samples(server: RunningServer) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    parser = pytest.importorskip("prometheus_client.parser")
    answer = httpx.get(server.url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = parser.text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(echo_server: RunningServer) -> None:
    for _ in range(3):
        assert httpx.get(echo_server.url + "/docs/docs.js").status_code == 200
    assert httpx.get(echo_server.url + "/docs/none.js").status_code == 404
    assert httpx.request("BREW", echo_server.url + "/no/such/route").status_code == 404
    found = samples(echo_server)

    def count(route: str, status: str, method: str = "GET") -> float:
        labels = (("method", method), ("route", route), ("status", status))
        return found["blazen_http_requests_total", labels]

    assert count("/docs/{name}", "200") == 3
    assert count("/docs/{name}", "404") == 1
    assert count("(none)", "404", "(other)") == 1  # whatever strangers ask for is one row
    route = ("route", "/docs/{name}")
    assert found["blazen_http_request_seconds_count", (route,)] == 4
    assert found["blazen_http_request_seconds_bucket", (("le", "+Inf"), route)] == 4
    assert found["blazen_http_requests_going", ()] == 0


def test_the_managers_numbers_are_there_too(echo_server: RunningServer) -> None:
    found = samples(echo_server)
    assert any(name == "blazen_pool_budget_bytes" for name, _ in found)
    assert found["blazen_cores", ()] >= 1


def test_a_histogram_adds_up() -> None:
    counters = RequestCounters()
    for seconds in (0.001, 0.005, 0.3, 1000.0):
        counters.add('/a"b', "GET", 200, seconds)
    text = counters.text()
    assert 'blazen_http_request_seconds_bucket{route="/a\\"b",le="0.005"} 2' in text
    assert 'blazen_http_request_seconds_bucket{route="/a\\"b",le="0.5"} 3' in text
    assert 'blazen_http_request_seconds_bucket{route="/a\\"b",le="300.0"} 3' in text
    assert 'blazen_http_request_seconds_bucket{route="/a\\"b",le="+Inf"} 4' in text
    assert 'blazen_http_request_seconds_count{route="/a\\"b"} 4' in text
    assert 'blazen_http_request_seconds_sum{route="/a\\"b"} 1000.306' in text


def test_turns_are_added_to_a_file(echo_catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    with running(echo_catalog, chat_history=file) as server:
        for number in (1, 2):
            messages = [{"role": "user", "content": f"turn {number}"}]
            answer = httpx.post(
                server.url + "/v1/chat/completions",
                json={"model": "echo", "messages": messages},
                timeout=60,
            )
            assert answer.json()["choices"][0]["message"]["content"] == f"turn {number}"
    turns = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [turn["answer"] for turn in turns] == ["turn 1", "turn 2"]
    assert [turn["messages"][-1]["content"] for turn in turns] == ["turn 1", "turn 2"]
    assert {turn["model"] for turn in turns} == {"echo"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_takes_no_turns(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="turns can't be added"):
        History(tmp_path / "no" / "such" / "folder")
