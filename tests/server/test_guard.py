"""Who may ask: names, other sites' pages, keys, and what an answer carries."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest

from blazen.catalog import Catalog
from blazen.errors import ValidationError
from blazen.server.guard.hosts import Hosts, Origins
from blazen.server.guard.keys import is_open
from blazen.server.settings import ServerSettings
from tests.server.conftest import RunningServer, running
from tests.server.probe import Probe, connected, until

pytestmark = pytest.mark.needs("server")

KEY = "sesame-0123456789"
ECHO = "/v1/probe/echo"


@pytest.fixture(scope="module")
def open_server(echo_catalog: Catalog) -> Iterator[RunningServer]:
    with running(echo_catalog, more=Probe().router) as server:
        yield server


@pytest.fixture(scope="module")
def keyed_server(echo_catalog: Catalog) -> Iterator[RunningServer]:
    with running(
        echo_catalog,
        more=Probe().router,
        api_key=KEY,
        access_log=True,
        cors_origins=("https://app.example.org", "tauri://*"),
        allowed_hosts=("models.example.org", ".lan.example"),
    ) as server:
        yield server


def ask(server: RunningServer, method: str, path: str, **more: object) -> httpx.Response:
    return httpx.request(method, server.url + path, timeout=60, **more)


# Where it listens


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert ServerSettings(host=host).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "my-host", ""])
def test_other_machines_need_a_key_or_the_word_for_it(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLAZEN_SERVER_KEY", raising=False)
    with pytest.raises(ValidationError, match=r"--api-key-file.*--allow-public"):
        ServerSettings(host=host)
    assert not ServerSettings(host=host, allow_public=True).is_local
    assert str(ServerSettings(host=host, api_key=KEY).api_key) == "…"
    monkeypatch.setenv("BLAZEN_SERVER_KEY", KEY)
    key = ServerSettings(host=host).api_key
    assert key is not None
    assert key.reveal() == KEY


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"port": 70000}, "at most 65535"),
        ({"tls_cert": "a.pem"}, "needs both"),
        ({"max_body": "a lot"}, "max_body must be bytes"),
        ({"max_requests": 0}, "at least 1"),
        ({"max_waiting": -1}, "at least 0"),
        ({"header_timeout": 0}, "at least 0.01"),
        ({"cors_origins": "*"}, "list of texts"),
        ({"keep_alive": -1}, "at least 0"),
    ],
)
def test_settings_that_can_not_be(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServerSettings(**wrong)  # type: ignore[arg-type]


# Names


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("127.0.0.1:8642", True),
        ("127.9.9.9", True),
        ("[::1]:8642", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("localhost.", True),
        ("a.localhost:8642", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.5", False),
        ("notlocalhost", False),
        ("", False),
        ("[::1", True),
        ("a:b:c", False),
    ],
)
def test_names_of_a_server_for_this_machine(name: str, known: bool) -> None:
    assert Hosts(ServerSettings()).knows(name) is known


def test_names_of_a_server_for_others() -> None:
    settings = ServerSettings(host="0.0.0.0", allow_public=True, allowed_hosts=(".lan.example",))
    hosts = Hosts(settings)
    assert hosts.knows("192.168.1.5:80")  # an address can't be led here by somebody else
    assert hosts.knows("box.lan.example")
    assert not hosts.knows("lan.example.evil.example")
    assert not hosts.knows("evil.example")
    assert Hosts(ServerSettings(allowed_hosts=("*",))).knows("evil.example")


def test_another_sites_name_is_refused(open_server: RunningServer) -> None:
    answer = ask(open_server, "GET", "/health", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "evil.example" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["Host", "Authorization", "X-Api-Key", "Origin"])
def test_two_of_a_header_that_decides_are_refused(open_server: RunningServer, name: str) -> None:
    lines = ["GET /v1/models HTTP/1.1", "Host: localhost", f"{name}: a", f"{name}: localhost", ""]
    with connected(open_server.port) as connection:
        connection.sendall("\r\n".join([*lines, ""]).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


# Pages of other sites


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil"])
def test_a_page_of_another_site_changes_nothing(open_server: RunningServer, origin: str) -> None:
    answer = ask(open_server, "POST", ECHO, json=[1], headers={"Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert ask(open_server, "OPTIONS", ECHO, headers=preflight).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_changes_nothing(open_server: RunningServer, site: str) -> None:
    answer = ask(open_server, "POST", ECHO, json=[1], headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403


def test_its_own_pages_may_ask(open_server: RunningServer) -> None:
    own = {"Origin": open_server.url, "Sec-Fetch-Site": "same-origin"}
    answer = ask(open_server, "POST", ECHO, json=[1], headers=own)
    assert (answer.status_code, answer.json()) == (200, [1])
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["https://app.example.org", "tauri://localhost"])
def test_pages_that_were_allowed_may_ask(keyed_server: RunningServer, origin: str) -> None:
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    asked = ask(keyed_server, "OPTIONS", ECHO, headers=preflight)
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == origin
    assert asked.headers["access-control-allow-headers"] == "authorization, content-type"
    assert asked.headers["access-control-allow-private-network"] == "true"
    headers = {"Origin": origin, "Authorization": f"Bearer {KEY}"}
    answer = ask(keyed_server, "POST", ECHO, json=[1], headers=headers)
    assert answer.json() == [1]
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]
    other = {**headers, "Origin": "https://app.example.org.evil.example"}
    assert ask(keyed_server, "POST", ECHO, json=[1], headers=other).status_code == 403


def test_a_star_lets_all_pages_ask() -> None:
    assert Origins(["*"]).allows("https://anything.example")
    assert not Origins([]).allows("https://anything.example")


# Keys


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"x-api-key": KEY},
    ],
)
def test_the_key_opens(keyed_server: RunningServer, headers: dict[str, str]) -> None:
    assert ask(keyed_server, "POST", ECHO, json={"a": 1}, headers=headers).json() == {"a": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"x-api-key": KEY.upper()},
        {"x-api-key": "ü"},
    ],
)
@pytest.mark.parametrize("path", [ECHO, "/v1/nothing", "/metrics", "/api/tags"])
def test_without_the_key_nothing_is_told(
    keyed_server: RunningServer, headers: dict[str, str], path: str
) -> None:
    raw = {name: value.encode() for name, value in headers.items()}
    answer = ask(keyed_server, "POST", path, json={"a": 1}, headers=raw)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY not in answer.text


def test_a_refusal_is_worded_as_its_api_does(keyed_server: RunningServer) -> None:
    openai = ask(keyed_server, "GET", "/v1/models").json()["error"]
    assert openai["code"] == "invalid_api_key"
    assert openai["type"] == "authentication_error"
    assert isinstance(ask(keyed_server, "GET", "/api/tags").json()["error"], str)
    native = ask(keyed_server, "GET", "/api/models").json()["error"]
    assert native["status"] == 401


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.js", "/openapi.json", "/chat", "/health"])
def test_what_tells_nothing_needs_no_key(keyed_server: RunningServer, path: str) -> None:
    assert ask(keyed_server, "GET", path).status_code != 401


@pytest.mark.parametrize("path", ["/static/../v1/models", "/docs/../metrics", "/static/%2e%2e/x"])
def test_no_path_leads_around_the_key(keyed_server: RunningServer, path: str) -> None:
    answer = ask(keyed_server, "GET", path)
    assert answer.status_code in (401, 404)


def test_only_whole_names_are_open() -> None:
    assert not is_open("/chat/x")
    assert not is_open("/staticx")
    assert not is_open("/v1/models")


def test_the_key_is_in_no_log(
    keyed_server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(keyed_server, "POST", ECHO, json=[1], headers={"Authorization": f"Bearer {KEY}"})
        ask(keyed_server, "GET", f"/metrics?key={KEY}", headers={"x-api-key": "wrong"})
        ask(keyed_server, "GET", "/a%0Ab")
        lines = until(lambda: logged(caplog, 3))  # a line is written once the answer is out
    assert [line.split('"')[1] for line in lines] == [f"POST {ECHO}", "GET /metrics", "GET /a%0Ab"]
    theirs = ("httpx", "httpcore")  # the client's own
    ours = [(r.name, r.getMessage()) for r in caplog.records if not r.name.startswith(theirs)]
    assert [line for line in ours if KEY in line[1]] == []


def logged(caplog: pytest.LogCaptureFixture, count: int) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.name == "blazen.server.access"]
    return lines if len(lines) >= count else []


# What an answer carries


@pytest.mark.parametrize("path", ["/v1/nothing", "/metrics", "/docs", "/chat", "/openapi.json"])
def test_every_answer_is_safe_to_show(open_server: RunningServer, path: str) -> None:
    headers = ask(open_server, "GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/v1/probe/broken", "/api/probe/broken"])
def test_a_mistake_of_ours_tells_nothing_of_the_code(
    open_server: RunningServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(open_server, "GET", path)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    error = answer.json()["error"]
    assert "internal error" in (error if isinstance(error, str) else error["message"])
    assert "a secret of the code" in caplog.text  # the log does tell


def test_other_methods_and_paths_are_worded_too(open_server: RunningServer) -> None:
    wrong = ask(open_server, "GET", ECHO)
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["allow"]
    assert wrong.json()["error"]["type"] == "invalid_request_error"
    missing = ask(open_server, "POST", "/v1/none")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
