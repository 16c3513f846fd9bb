"""Whoever wants to break it: bad JSON, slow clients, ten thousand headers, thousands of requests.

The server runs in a process of its own. After each attack it answers, and at the end its memory is
what it was.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from blazen.errors import DownloadError, ValidationError
from blazen.server.guard import remote
from blazen.server.settings import ServerSettings
from tests.server.conftest import ECHOES, echo_package
from tests.server.probe import is_gone, read_all, until
from tests.server.test_serve import Serving, serving

pytestmark = [pytest.mark.needs("server", "cli"), pytest.mark.long]

GROWTH = 48 << 20
"""Bytes that its memory may grow by: allocators keep some, a leak takes far more."""
LIMITS = """
[server]
header_timeout = 1.0
body_timeout = 1.0
write_timeout = 1.0
idle_timeout = 2.0
max_connections = 64
"""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = echo_package(tmp_path_factory.mktemp("hostile"))
    (folder / "blazen.toml").write_text(ECHOES + LIMITS)
    (folder / "secret.txt").write_text("the secret of this machine")
    (folder / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"the secret of this machine")
    with serving(folder, ":0") as server:
        yield server
        assert server.process.poll() is None


@pytest.fixture(scope="module")
def client(victim: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=victim.url, timeout=60) as made:
        yield made


def port_of(victim: Serving) -> int:
    return int(victim.url.rpartition(":")[2])


@contextlib.contextmanager
def raw(victim: Serving) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port_of(victim)), timeout=60) as connection:
        yield connection


def send(victim: Serving, data: bytes) -> bytes:
    with raw(victim) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        return read_all(connection)


def memory(victim: Serving) -> int:
    used: int = psutil.Process(victim.process.pid).memory_info().rss
    return used


def post_routes(client: httpx.Client) -> list[str]:
    paths = client.get("/openapi.json").json()["paths"]
    return sorted(p for p, methods in paths.items() if "post" in methods and "{" not in p)


def still_answers(client: httpx.Client) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "still here"}]}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "still here"


def is_told_well(answer: httpx.Response) -> None:
    """No error of the server's own, and nothing of its code."""
    assert answer.status_code < 500 or answer.status_code in (501, 503), answer.text
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text
    if answer.status_code >= 400:
        assert "error" in answer.json()


BODIES: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"1e999",
    b"-" * 1000,
    b"\xff\xfe\x00",
    b"\xed\xa0\x80",
    b'{"model": "echo"',
    b'{"model": 1, "messages": 2, "input": 3, "prompt": 4}',
    b'{"model": null, "messages": [null], "input": [null], "prompt": [null]}',
    b'{"model": "echo", "messages": [{"role": "user", "content": {"a": 1}}]}',
    b'{"model": "echo", "messages": [{"role": "nobody", "content": "a"}]}',
    b'{"model": "echo", "messages": [], "max_tokens": 1' + b"0" * 5000 + b"}",
    b'{"model": "echo", "prompt": "a", "max_tokens": -1, "temperature": 1e400}',
    b'{"model": "echo", "prompt": "a", "temperature": NaN, "top_p": Infinity}',
    b'{"model": "' + b"m" * 100_000 + b'", "prompt": "a", "input": "a"}',
    b'{"model": "\\u0000\\ud800", "prompt": "\\udfff", "input": "\\ud800"}',
    b'{"model": "../../etc/passwd", "prompt": "a", "input": "a", "messages": []}',
    b'{"model": "/etc/passwd", "prompt": "a", "input": "a", "messages": []}',
    b'{"model": "echo", "messages": [{"role":"user","content":"a"}], "stop": '
    + b"[" * 60
    + b"]" * 60
    + b"}",
    b"[" * 300_000 + b"]" * 300_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"[" + b"[]," * 1_000_000 + b"1]",
    b'{"__proto__": {}, "constructor": {}, "model": {"$ref": "#"}}',
    b'{"model": true, "stream": "yes", "n": 1.5, "tools": "none", "prompt": true}',
]


def test_bad_bodies_on_every_route(client: httpx.Client) -> None:
    for path in post_routes(client):
        for body in BODIES:
            kind = {"Content-Type": "application/json"}
            is_told_well(client.post(path, content=body, headers=kind))
    still_answers(client)


def test_random_bodies_on_every_route(client: httpx.Client) -> None:
    chance = random.Random(9)
    names = ["model", "messages", "prompt", "input", "stream", "options", "tools", "image", "text"]
    words: list[Any] = [
        None, True, -1, 0, 10**30, 1.5, "", "echo", "ü" * 50, [], {}, ["a"], [[1, 2]], [0],
        {"role": "user", "content": "a"}, [{"role": "user", "content": "a"}], "echo-embed",
        "data:image/png;base64,AAAA", {"type": "json_schema"}, [{"type": "text", "text": 5}],
    ]  # fmt: skip
    for path in post_routes(client):
        for _ in range(12):
            body = {name: chance.choice(words) for name in chance.sample(names, 5)}
            is_told_well(client.post(path, json=body))
    still_answers(client)


def test_odd_requests(client: httpx.Client, victim: Serving) -> None:
    for line in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%00%ff%0d%0a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e3\r\n\r\n",
        (
            b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        (
            b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Content-Length: 6\r\n\r\nhello!"
        ),
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        (
            b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade, close\r\nSec-WebSocket-Key: x\r\n\r\n"
        ),
    ):
        answer = send(victim, line)
        assert b" 500 " not in answer[:20], line
        assert b"Traceback" not in answer
    still_answers(client)


def test_ten_thousand_headers(client: httpx.Client, victim: Serving) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(10_000))
    for _ in range(20):
        answer = send(victim, head + many + b"\r\n")
        assert answer == b"" or b" 431 " in answer[:20]
    still_answers(client)


def test_slow_clients(client: httpx.Client, victim: Serving) -> None:
    starts = [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-",
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ]
    with contextlib.ExitStack() as stack:
        slow = []
        for start in starts * 12:
            connection = stack.enter_context(raw(victim))
            connection.sendall(start)
            slow.append(connection)
        still_answers(client)
        assert all(is_gone(connection) for connection in slow)
    still_answers(client)


def test_half_closed_and_torn_connections(client: httpx.Client, victim: Serving) -> None:
    said = [{"role": "user", "content": "a b c"}]
    body = json.dumps({"model": "slow-echo", "messages": said, "stream": True})
    whole = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    linger = struct.pack("ii", 1, 0)  # the end of it is a reset
    for cut in (0, 10, len(whole) - 5, len(whole)):
        for torn in (False, True):
            with raw(victim) as connection:
                connection.sendall(whole[:cut])
                if torn:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    connection.shutdown(socket.SHUT_WR)
                    assert is_gone(connection)

    def idle() -> bool:
        models = client.get("/api/models").json()["models"]
        return all(model["leases"] == 0 for model in models)

    until(idle)
    still_answers(client)


def test_no_request_reads_a_file_of_this_machine(client: httpx.Client, victim: Serving) -> None:
    place = Path(psutil.Process(victim.process.pid).cwd()) / "secret.png"
    asked = [str(place), place.as_uri(), "secret.png", f"data:{place}", f"file:{place}"]
    asked += ["http://127.0.0.1:1/x.png", "http://[::ffff:127.0.0.1]/x", "ftp://localhost/x"]
    for text in asked:
        part = {"type": "image_url", "image_url": {"url": text}}
        chat = {"model": "echo", "messages": [{"role": "user", "content": [part]}]}
        for path, body in (
            ("/v1/chat/completions", chat),
            ("/api/chat", {"model": "echo", "messages": [
                {"role": "user", "content": "a", "images": [text]}]}),
            ("/api/generate", {"model": "echo", "prompt": "a", "images": [text]}),
            ("/api/mesh", {"model": "echo-mesh", "image": text}),
            ("/generate", {"model": text, "prompt": "a"}),
            ("/v1/embeddings", {"model": text, "input": "a"}),
            ("/api/explorer/tokenize", {"model": text, "text": "a"}),
            ("/api/models/load", {"model": text}),
        ):  # fmt: skip
            answer = client.post(path, json=body)
            assert 400 <= answer.status_code < 500, (path, text, answer.text)
            assert "the secret of" not in answer.text
    for text in (str(place), "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt"):
        for start in ("/static/", "/docs/", "/", "/api/explorer/model?model="):
            answer = client.get(start + text)
            assert answer.status_code >= 400
            assert "the secret of" not in answer.text
    still_answers(client)


def test_thousands_of_requests_leave_its_memory_flat(client: httpx.Client, victim: Serving) -> None:
    chat = {"model": "echo", "messages": [{"role": "user", "content": "a b c " * 20}]}
    rounds: list[Callable[[httpx.Client], httpx.Response]] = [
        lambda c: c.post("/v1/chat/completions", json=chat),
        lambda c: c.post("/v1/chat/completions", json={**chat, "stream": True}),
        lambda c: c.post("/v1/embeddings", json={"model": "echo-embed", "input": ["a"] * 20}),
        lambda c: c.post("/v1/completions", content=b"[" * 100_000),
        lambda c: c.post("/v1/chat/completions", json={"model": "x" * 1000, "messages": []}),
        lambda c: c.get("/metrics"),
        lambda c: c.request("BREW", "/a" * 50),
    ]

    def many(count: int) -> None:
        def some(_: int) -> None:
            with httpx.Client(base_url=victim.url, timeout=60) as own:
                for number in range(count // 4):
                    is_told_well(rounds[number % len(rounds)](own))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(some, range(4)))

    many(560)  # what grows once has grown
    before = memory(victim)
    many(2800)
    assert memory(victim) - before < GROWTH
    still_answers(client)


# Pictures from the web, where that is allowed


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "10.0.0.1",
        "192.168.0.1", "169.254.169.254", "[fe80::1]", "[2002:7f00:1::]", "0.0.0.0", "2130706433",
        "0x7f.1",
    ],
)  # fmt: skip
async def test_nothing_near_is_fetched(host: str) -> None:
    settings = ServerSettings(remote_images=True)
    with pytest.raises((ValidationError, DownloadError), match=r"private network|not found"):
        await remote.fetch_image(f"http://{host}:9/picture.png", settings)


class Web:
    """A web server of the test's, which stands at a public name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, bytes]) -> None:
        self.answers, self.asked = answers, list[str]()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        real = socket.getaddrinfo

        def look(host: str, port: int, *more: Any, **settings: Any) -> Any:
            if host == "public.example":
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
            return real(host, port, *more, **settings)

        monkeypatch.setattr(remote.socket, "getaddrinfo", look)
        # It stands on this machine, and that one address counts as public.
        near = remote._is_near
        monkeypatch.setattr(remote, "_is_near", lambda text: text != "127.0.0.1" and near(text))

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                path = connection.recv(65536).split(b" ")[1].decode()
                self.asked.append(path)
                connection.sendall(self.answers[path])


def _answer(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    return head.encode() + body


@contextlib.contextmanager
def web(monkeypatch: pytest.MonkeyPatch, answers: dict[str, bytes]) -> Iterator[Web]:
    made = Web(monkeypatch, answers)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(made.serve)
        try:
            yield made
        finally:
            made.listener.shutdown(socket.SHUT_RDWR)
            made.listener.close()


async def test_a_public_picture_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLAZEN_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    settings = ServerSettings(remote_images=True, max_body=1000)
    answers = {
        "/a.png?b=1": _answer(b"a picture"),
        "/moved": _answer(b"", "302 Found", "Location: /a.png?b=1\r\n"),
        "/round": _answer(b"", "302 Found", "Location: /round\r\n"),
        "/near": _answer(b"", "302 Found", "Location: http://10.0.0.1/secret\r\n"),
        "/file": _answer(b"", "302 Found", "Location: file:///etc/passwd\r\n"),
        "/large": _answer(b"a" * 2000),
        "/none": _answer(b"", "404 Not Found"),
        "/broken": b"nonsense\r\n\r\n",
    }
    with web(monkeypatch, answers) as there:
        url = f"http://public.example:{there.port}"
        assert await remote.fetch_image(f"{url}/a.png?b=1", settings) == b"a picture"
        assert await remote.fetch_image(f"{url}/moved", settings) == b"a picture"
        for path, message in (
            ("/round", "from one place to the next"),
            ("/near", "private network"),
            ("/file", "https://host/path"),
            ("/large", "larger than the 1,000"),
            ("/none", "answered 404"),
            ("/broken", "could not be fetched"),
        ):
            with pytest.raises((ValidationError, DownloadError), match=message):
                await remote.fetch_image(url + path, settings)
        with pytest.raises(ValidationError, match="account"):
            await remote.fetch_image("http://a:b@public.example/x", settings)
    assert there.asked.count("/round") == 4


async def test_offline_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    with pytest.raises(DownloadError, match="offline"):
        await remote.fetch_image("https://public.example/a.png", ServerSettings())
