"""Small requests that would cost much: long lists, long names, clients that wait and go."""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import ValidationError as Wrong
from starlette.types import Message

from blazen.catalog import Catalog
from blazen.errors import DownloadError, ModelNotFoundError, ValidationError
from blazen.server.apis.native.generate import GenerateBody
from blazen.server.apis.ollama.asked import Options
from blazen.server.apis.openai.chat_asked import ChatBody
from blazen.server.apis.openai.completions_asked import CompletionBody
from blazen.server.apis.openai.embeddings import EmbeddingAsked
from blazen.server.apis.openai.responses.asked import ResponseAsked
from blazen.server.failures import Refusal, Shape, answer_of, body_of
from blazen.server.guard import body as bodies
from blazen.server.guard.head import Head
from blazen.server.guard.json_shape import JsonShape
from blazen.server.guard.turns import Turns
from blazen.server.metrics import RequestCounters
from blazen.server.run import within_files
from blazen.server.settings import ServerSettings
from tests.server.conftest import RunningServer, running
from tests.server.probe import Probe, connected, until

pytestmark = pytest.mark.needs("server")

MANY = 5000
SAID = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize("value", ["1", "null", '"a"', "[]", "{}"])
def test_each_value_counts_however_short(value: str) -> None:
    def feed(count: int) -> None:
        text = "[" + ",".join([value] * count) + "]"
        JsonShape(depth=8, values=1000).feed(text.encode())

    feed(499)
    with pytest.raises(Refusal, match="1,000 values"):
        feed(1001)


def test_texts_of_quotes_are_bounded() -> None:
    with pytest.raises(Refusal, match="1,000 values"):
        JsonShape(depth=8, values=1000).feed(b'"' + b'\\"' * MANY + b'"')


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (ChatBody, lambda wrong: {"messages": wrong}),
        (ChatBody, lambda wrong: {"messages": [{"role": "user", "content": wrong}]}),
        (ChatBody, lambda wrong: {"messages": SAID, "tools": wrong}),
        (ChatBody, lambda wrong: {"messages": SAID, "stop": wrong}),
        (CompletionBody, lambda wrong: {"prompt": wrong}),
        (CompletionBody, lambda wrong: {"prompt": [[1, *wrong]]}),
        (EmbeddingAsked, lambda wrong: {"input": [1, *wrong]}),
        (GenerateBody, lambda wrong: {"messages": wrong}),
        (ResponseAsked, lambda wrong: {"input": wrong}),
        (Options, lambda wrong: {"stop": wrong}),
    ],
)
def test_a_list_is_refused_at_its_first_mistake(
    kind: Any, given: Callable[[list[Any]], dict[str, Any]]
) -> None:
    with pytest.raises(Wrong) as caught:
        kind.model_validate(given([{"wrong": None}] * MANY))
    assert caught.value.error_count() < 40


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/v1/chat/completions", {"messages": SAID, "stop": ["a"] * 257}, "256"),
        ("/v1/completions", {"prompt": "a", "stop": ["a"] * 257}, "256"),
        ("/generate", {"prompt": "a", "stop": ["a"] * 257}, "256"),
        ("/api/generate", {"prompt": "a", "options": {"stop": ["a"] * 257}}, "256"),
        (
            "/v1/completions",
            {"prompt": "a", "logit_bias": {str(n): None for n in range(10_001)}},
            "10,000 tokens, not 10,001",
        ),
        (
            "/v1/responses",
            {"input": "a", "metadata": {str(n): 1 for n in range(65)}},
            "64 entries, not 65",
        ),
    ],
)
def test_what_is_looked_at_for_each_token_is_bounded(
    echo_server: RunningServer, path: str, body: dict[str, Any], word: str
) -> None:
    answer = httpx.post(echo_server.url + path, json={"model": "echo", **body}, timeout=60)
    assert answer.status_code == 400
    assert word in answer.text
    assert len(answer.content) < 1000


def test_a_name_of_a_megabyte_is_compared_with_nothing(
    echo_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def near(wanted: str, *more: Any, **settings: Any) -> list[str]:
        compared.append(wanted)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", near)
    with pytest.raises(ModelNotFoundError) as caught:
        echo_catalog.find_known("echo" * 250_000)
    assert len(str(caught.value)) < 1000
    assert [len(text) for text in compared] == [200]


def test_clients_that_go_while_they_wait_leave_their_place(echo_catalog: Catalog) -> None:
    probe = Probe()
    ask = b"POST /v1/probe/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    with (
        running(echo_catalog, more=probe.router, max_requests=1, max_waiting=2) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        counters = server.service.counters
        url = server.url + "/v1/probe/"
        held = pool.submit(httpx.post, url + "hold", json={}, timeout=120)
        assert probe.begun.wait(60)
        try:
            with connected(server.port) as first, connected(server.port) as second:
                for connection in (first, second):
                    connection.sendall(ask % b"hold")
                until(lambda: counters.waiting == 2)
            until(lambda: counters.waiting == 0)
            waits = pool.submit(httpx.post, url + "echo", json=[7], timeout=120)
            until(lambda: counters.waiting == 1)
        finally:
            probe.release.set()
        assert held.result().status_code == 200
        assert waits.result().json() == [7]
        until(lambda: counters.going == 0)


async def test_a_body_that_came_fast_may_not_rest_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(bodies, "time", clock)
    settings = ServerSettings(body_timeout=1.0)
    scope = {
        "method": "POST",
        "headers": [(b"content-length", b"20000000"), (b"content-type", b"application/json")],
    }
    pieces: list[Message] = [{"type": "http.request", "body": b"a" * 8_000_000, "more_body": True}]

    async def receive() -> Message:
        if not pieces:
            await asyncio.Event().wait()
        return pieces.pop()

    counters = RequestCounters()
    body = bodies.Body(receive, Head(scope, settings), settings, Turns(settings, counters))
    assert len((await body.receive())["body"]) == 8_000_000
    clock.now += 1.5  # less than the eight minutes that it would have earned
    with pytest.raises(Refusal, match="did not arrive in time"):
        await asyncio.wait_for(body.receive(), 60)


def test_a_request_that_is_chunked_and_of_a_length_ends_its_connection(
    echo_server: RunningServer,
) -> None:
    with connected(echo_server.port) as connection:
        connection.sendall(
            b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        said = b""
        while piece := connection.recv(65536):
            said += piece
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
)
def test_a_page_of_another_site_has_no_model_loaded_by_a_look(
    echo_server: RunningServer, headers: dict[str, str]
) -> None:
    def look(path: str) -> int:
        return httpx.get(echo_server.url + path, headers=headers, timeout=60).status_code

    assert look("/v1/audio/voices?model=echo-speak") == 403
    assert look("/v1/models") == 403
    assert look("/chat") == 200  # which a link may lead to


def test_a_log_has_one_line_for_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "blazen.server"):
        answer_of("/v1/models/a\nFORGED \x1b[31m", DownloadError("no\r\nFORGED"))
        answer_of("/v1/models/a\nFORGED", RuntimeError("ours"))
    assert [record.getMessage() for record in caplog.records] == [
        "/v1/models/a\\nFORGED \\x1b[31m: DownloadError: no\\r\\nFORGED",
        "/v1/models/a\\nFORGED failed",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/models/a.gguf is no GGUF file", "a.gguf is no GGUF file"),
        ("can't open '/home/my name/the models/a.gguf'", "can't open 'a.gguf'"),
        (r"C:\Users\me\a.gguf is cut short", "a.gguf is cut short"),
        ("(/srv/blazen.toml: x)", "(blazen.toml: x)"),
        ("https://hub.example/org/name or org/name", "https://hub.example/org/name or org/name"),
    ],
)
@pytest.mark.parametrize("shape", list(Shape))
def test_no_error_tells_where_files_lie(shape: Shape, text: str, told: str) -> None:
    assert json.dumps(told)[1:-1] in json.dumps(body_of(shape, ValidationError(text)))
    if told != text:
        assert json.dumps(text)[1:-1] not in json.dumps(body_of(shape, ValidationError(text)))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("soft", "hard", "asked", "left"),
    [
        (256, 256, None, 128),
        (256, 1100, 1100, 588),
        (256, 4096, 1536, 1024),
        (9999, 9999, None, 1024),
    ],
)
def test_no_more_connections_than_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked: int | None, left: int
) -> None:
    import resource

    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert within_files(ServerSettings()).max_connections == left
    assert raised == ([] if asked is None else [(asked, hard)])
