"""Requests to a service: where they and their key go, and which error comes of what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import pickle
import socket
import threading
import tracemalloc
import zlib
from contextlib import asynccontextmanager

import pytest

httpx2 = pytest.importorskip("httpx2")

import blazen  # noqa: E402
from blazen import AuthError, ProviderError, RateLimitError, ValidationError  # noqa: E402
from blazen.remote import body as body_module  # noqa: E402
from blazen.remote.body import pieces  # noqa: E402
from blazen.remote.failures import failure  # noqa: E402
from blazen.remote.keys import Keys  # noqa: E402
from blazen.remote.retry import Retry  # noqa: E402
from blazen.remote.secret import Secret  # noqa: E402
from blazen.remote.service import Service  # noqa: E402
from blazen.remote.timeouts import Timeouts  # noqa: E402
from blazen.remote.url import joined  # noqa: E402
from tests.remote.misbehaving import (  # noqa: E402
    AUTHORITY,
    Behaviour,
    Request,
    Wire,
    answering,
    serving,
)

KEY = "sk-a-key-that-nobody-may-see"
PATIENCE = 20


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def made(url: str, *, times: int = 0, key: str | None = KEY, **settings) -> Service:
    seconds = {"connect": PATIENCE, "idle": PATIENCE, "total": PATIENCE}
    secrets = {} if key is None else {"X-Key": ("Key ", Secret(key))}
    return Service(
        url,
        provider="birds",
        extra="compat3d",
        secrets=secrets,
        timeouts=Timeouts(**(seconds | settings.pop("timeouts", {}))),
        retry=Retry(first=0.001, times=times),
        **settings,
    )


async def asked(
    service: Service,
    path: str = "x",
    *,
    method: str = "GET",
    twice: bool = True,
    limit: int = 1_000_000,
    **content,
) -> bytes:
    deadline = service.deadline()

    async def attempt() -> bytes:
        url = path if "://" in path else joined(service.base_url, path)
        response = await service.send(method, url, deadline=deadline, **content)
        try:
            return await service.read(response, deadline, limit=limit, advice="ask for less")
        finally:
            await response.aclose()

    return await service.repeated(attempt, deadline, twice=twice)


@asynccontextmanager
async def using(*behaviours: Behaviour, encrypted: bool = False, **settings):
    async with serving(*behaviours, encrypted=encrypted) as server:
        service = made(server.url, **settings)
        try:
            yield service, server
        finally:
            await service.aclose()
            await asyncio.wait_for(server.until_all_left(), PATIENCE)


async def reset(wire: Wire, request: Request) -> None:
    wire.reset()


async def silent(wire: Wire, request: Request) -> None:
    await wire.until_left()


async def odd(wire: Wire, request: Request) -> None:
    await wire.raw(b"220 mail\r\n\r\n")
    wire.close()


async def cut(wire: Wire, request: Request) -> None:
    await wire.head(length=10)
    await wire.raw(b"12345")
    wire.close()


# What a status means.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, ProviderError),
        (304, ProviderError),
        (400, ProviderError),
        (401, AuthError),
        (403, AuthError),
        (404, ProviderError),
        (408, ProviderError),
        (413, ProviderError),
        (422, ProviderError),
        (429, RateLimitError),
        (500, ProviderError),
        (502, ProviderError),
        (503, ProviderError),
        (504, ProviderError),
        (529, ProviderError),
    ],
)
async def test_each_status_has_its_error(status, kind):
    body = b"" if status == 304 else b'{"error": {"message": "too dark"}}'
    async with using(answering(body, status, x_request_id="req_7", retry_after=7)) as (service, _):
        with pytest.raises(ProviderError) as raised:
            await asked(service)
    error = raised.value
    assert type(error) is kind
    assert (error.provider, error.status, error.request_id) == ("birds", status, "req_7")
    assert error.retry_after == 7
    assert f"answered {status}: {'it gives no reason' if status == 304 else 'too dark'}" in str(
        error
    )


@pytest.mark.parametrize(("header", "said"), [({"retry-after": "90"}, "again in 90 s"), ({}, "")])
def test_too_many_requests_says_when_to_come_back(header, said):
    error = failure(429, header, b"", provider="x", where="https://x.org")
    assert isinstance(error, RateLimitError)
    assert str(error).endswith(said or "ask for a higher limit")


async def test_a_page_for_people_is_not_shown():
    page = b"<html><body>Oops " + b"x" * 1000
    async with using(answering(page, 502, content_type="Text/HTML; charset=x")) as (service, _):
        with pytest.raises(ProviderError, match=r"502: it gives no reason$"):
            await asked(service)


async def test_an_error_page_that_never_ends_does_not_hide_the_error(monkeypatch):
    monkeypatch.setattr(body_module, "_ERROR_SECONDS", 0.05)

    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(401)
        await wire.raw(b'{"error"')
        await wire.until_left()

    async with using(behave) as (service, _):
        with pytest.raises(AuthError, match="answered 401"):
            await asyncio.wait_for(asked(service), PATIENCE)


async def test_a_refusal_by_another_host_is_not_about_the_key():
    async with serving(answering(b"", 403)) as other:
        where = f"http://localhost:{other.port}/x?sig=1"
        async with using(answering(b"", 302, location=where)) as (service, _):
            with pytest.raises(ProviderError, match="answered 403") as raised:
                await asked(service)
    assert type(raised.value) is ProviderError
    assert "key" not in str(raised.value)
    assert "sig" not in str(raised.value)


# Bodies.


async def test_what_lies_packed_is_unpacked():
    data = bytes(range(256)) * 4000
    packed = [("gzip", gzip.compress(data)), ("deflate", zlib.compress(data)), ("identity", data)]
    for name, body in packed:
        async with using(answering(body, content_encoding=name)) as (service, server):
            assert await asked(service, limit=len(data)) == data
            assert server.asked[0].headers["accept-encoding"] == "identity"
            with pytest.raises(ProviderError, match="more than"):
                await asked(service, limit=len(data) - 1)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"x"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x"))),
        ("gzip", b"this is not packed"),
        ("gzip", gzip.compress(b"x" * 1000)[:-9]),
    ],
    # Not named by their bytes: these hold the time, and tests that run side by side compare names.
    ids=["unknown", "twice", "not packed", "cut"],
)
async def test_what_can_not_be_unpacked_is_refused(encoding, body):
    async with using(answering(body, content_encoding=encoding)) as (service, _):
        with pytest.raises(ProviderError, match="sends what can't be read") as raised:
            await asked(service)
        assert isinstance(raised.value.__cause__, httpx2.DecodingError)


async def test_a_small_packed_body_can_not_fill_the_memory():
    bomb = gzip.compress(bytes(100_000_000))
    async with using(answering(bomb, content_encoding="gzip")) as (service, _):
        tracemalloc.start()
        try:
            with pytest.raises(ProviderError, match="more than 1,000,000 bytes: ask for less"):
                await asked(service)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()
        # Nor where it is the reason of a refusal.
    async with using(answering(bomb, 400, content_encoding="gzip")) as (service, _):
        with pytest.raises(ProviderError, match="answered 400"):
            await asked(service)


async def test_a_body_comes_in_pieces_that_are_not_large():
    body = gzip.compress(bytes(3_000_000))
    response = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Chunked(body))
    sizes = [len(piece) async for piece in pieces(response)]
    assert sum(sizes) == 3_000_000
    assert max(sizes) < 300_000


class Chunked(httpx2.AsyncByteStream):
    def __init__(self, body):
        self.body = body

    async def __aiter__(self):
        yield self.body


async def test_odd_heads_are_refused():
    heads = {
        "an endless one": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000,
        "many": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
        "no length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx",
        "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "no status": b"HTTP/1.1 OK\r\n\r\n",
    }
    for name, head in heads.items():

        async def behave(wire: Wire, request: Request, head: bytes = head) -> None:
            await wire.raw(head)
            await wire.until_left()

        async with using(behave) as (service, _):
            with pytest.raises(ProviderError, match="broke the connection off"):
                await asyncio.wait_for(asked(service), PATIENCE)
            assert name


async def test_what_is_announced_too_large_is_not_read():
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(length=1_000_001)
        await wire.until_left()

    async with using(behave) as (service, _):
        with pytest.raises(ProviderError, match="1,000,000"):
            await asyncio.wait_for(asked(service), PATIENCE)


async def test_a_drip_may_go_on_within_the_time():
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(length=30)
        for _ in range(30):
            await wire.raw(b"x")
            await asyncio.sleep(0.01)

    async with using(behave, timeouts={"idle": 5}) as (service, _):
        assert await asked(service) == b"x" * 30
    async with using(behave, timeouts={"total": 0.1}) as (service, _):
        with pytest.raises(blazen.TimeoutError, match=r"longer than the 0\.1 s"):
            await asked(service)


async def test_a_refusal_that_comes_before_all_is_sent_is_heard():
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await writer.drain()
        while await reader.read(65536):
            pass
        writer.close()
        await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        service = made(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(ProviderError, match="413: too large"):
            await asked(service, method="POST", content=bytes(10_000_000))
        await service.aclose()
        await asyncio.wait_for(gone.wait(), PATIENCE)


# What is made again.


@pytest.mark.parametrize(
    ("behaviour", "read", "sent"),
    [
        (answering(b"", 503), 3, 3),
        (answering(b"", 408), 3, 3),
        (answering(b"", 502), 3, 1),
        (answering(b"", 504), 3, 1),
        (answering(b"", 501), 1, 1),
        (answering(b"", 400), 1, 1),
        (reset, 3, 1),
        (silent, 3, 1),
    ],
)
async def test_what_may_have_happened_is_asked_again_only_where_that_is_harmless(
    behaviour, read, sent
):
    timeouts = {"idle": 0.2} if behaviour is silent else {}
    async with using(behaviour, times=2, timeouts=timeouts) as (service, server):
        with pytest.raises(blazen.BlazenError):
            await asked(service)
        assert len(server.asked) == read
        with pytest.raises(blazen.BlazenError):
            await asked(service, method="POST", twice=False)
        assert len(server.asked) == read + sent


async def test_a_pause_can_be_cancelled(monkeypatch):
    pausing, sleep = asyncio.Event(), asyncio.sleep

    async def watched(seconds: float) -> None:
        if seconds > 1:
            pausing.set()
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", watched)
    async with using(answering(b"", 503, retry_after=25), times=5, timeouts={"total": 60}) as (
        service,
        server,
    ):
        task = asyncio.create_task(asked(service))
        await asyncio.wait_for(pausing.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(server.asked) == 1


# Where nobody answers.


async def test_a_name_that_nobody_knows(monkeypatch):
    looked_up = []

    def unknown(host, *rest, **more):
        looked_up.append(host if isinstance(host, str) else host.decode())
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    service = made("https://birds.example/v1", times=2)
    with pytest.raises(ProviderError, match=r"birds\.example/v1/x could not be reached"):
        await asked(service, method="POST", twice=False)
    # Nothing was sent: even what may not happen twice is tried again.
    assert looked_up.count("birds.example") == 3
    await service.aclose()


@pytest.fixture
def trusted(tmp_path):
    """A file with the authority that signed for our servers."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return str(file)


async def test_a_certificate_must_be_one_that_is_trusted(monkeypatch, trusted):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with using(answering(b"x"), encrypted=True) as (service, server):
        with pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED") as raised:
            await asked(service)
        assert not server.asked
        assert raised.value.status is None
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    async with using(answering(b"x"), encrypted=True) as (service, server):
        assert await asked(service) == b"x"
        assert server.asked[0].headers["x-key"] == f"Key {KEY}"


def test_a_certificate_gets_no_better_by_asking_again():
    import ssl

    from blazen.remote.retry import is_repeatable

    for reason, again in ((ssl.SSLCertVerificationError("x"), False), (OSError("x"), True)):
        cause = httpx2.ConnectError("x")
        cause.__cause__ = reason
        error = ProviderError("x", provider="x")
        error.__cause__ = cause
        assert is_repeatable(error, twice=False) is again


# Redirects.


async def test_a_redirect_never_leads_from_an_encrypted_place_to_an_open_one(monkeypatch, trusted):
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    async with serving(answering(b"open")) as other:
        for scheme in ("http", "HTTP"):
            away = answering(b"", 302, location=f"{scheme}://127.0.0.1:{other.port}/x")
            async with using(away, encrypted=True) as (service, _):
                with pytest.raises(ProviderError, match="not encrypted"):
                    await asked(service)
        assert not other.asked
        async with using(away, encrypted=True, allow_http=True) as (service, _):
            assert await asked(service) == b"open"
        assert "x-key" not in other.asked[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_what_is_sent_goes_to_no_other_place(status):
    async with serving(answering(b"stolen")) as other:
        away = answering(b"", status, location=f"http://localhost:{other.port}/x")
        async with using(away) as (service, _):
            with pytest.raises(ProviderError, match="go only to base_url") as raised:
                await asked(service, method="POST", content=b"picture")
        assert not other.asked
        assert raised.value.status == status


async def test_redirects_within_the_service():
    async with using(answering(b"", 308, location="/v2"), answering(b"x")) as (service, server):
        await asked(service, method="POST", content=b"picture")
        assert [(r.method, r.path, r.body) for r in server.asked] == [
            ("POST", "/v1/x", b"picture"),
            ("POST", "/v2", b"picture"),
        ]
    async with using(answering(b"", 303, location="/v2"), answering(b"x")) as (service, server):
        await asked(service, method="POST", content=b"picture")
        assert (server.asked[1].method, server.asked[1].body) == ("GET", b"")
    round_and_round = answering(b"", 302, location="/v1/x")
    async with using(round_and_round) as (service, server):
        with pytest.raises(ProviderError, match="again and again"):
            await asked(service)
        assert len(server.asked) == 6


async def test_a_redirect_leaves_no_connection_open():
    async with using(answering(b"moved", 302, location="/y"), answering(b"x")) as (service, server):
        await asked(service)
        await asyncio.wait_for(server.until_left_are(1), PATIENCE)


def test_a_key_goes_nowhere_in_the_clear():
    with pytest.raises(ValidationError, match="allow_http"):
        made("http://service.example/v1")


# What a service may name.


@pytest.fixture
def names(monkeypatch):
    """Names that lead somewhere, without a network."""
    found = {
        "service.example": "93.184.216.34",
        "cdn.example": "93.184.216.35",
        "inside.example": "10.0.0.7",
        "2130706433": "127.0.0.1",
        "fake.example": "198.18.0.9",
    }
    real = socket.getaddrinfo

    def look_up(host, port, *rest, **more):
        name = host.decode() if isinstance(host, bytes) else host
        if name in found:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found[name], port or 0))]
        if name is not None and name != "localhost" and not name.startswith("127."):
            raise socket.gaierror(-2, "Name or service not known")
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


@pytest.fixture
async def proxied(monkeypatch, names):
    """A proxy that answers for all hosts itself, so that no name need lead anywhere."""
    async with serving(answering(b"from afar")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://0.0.0.0/x",
        "http://224.0.0.1/x",
        "http://localhost/x",
        "http://me@127.0.0.1/x",
        "http://2130706433/x",
        "http://inside.example/x",
        "HTTP://INSIDE.example/x",
    ],
)
async def test_a_service_can_not_make_us_look_around_at_home(proxied, url):
    for service in (
        made("http://service.example/v1", key=None),
        made("http://93.184.216.34/v1", key=None),
    ):
        with pytest.raises(ProviderError, match="in your own network"):
            await asked(service, url)
        await service.aclose()
    assert not proxied.asked


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "http:x", "//x", "http://\ud800/"]
)
async def test_what_is_no_web_address_is_not_asked(proxied, url):
    service = made("http://service.example/v1", key=None)
    response = httpx2.Response(302, headers={"location": "x"})
    assert response.has_redirect_location
    with pytest.raises(ProviderError, match="a URL that is none") as raised:
        await service._check_named(url, service.deadline())
    str(raised.value).encode()
    await service.aclose()


async def test_what_a_service_names_elsewhere_is_asked(proxied, names):
    service = made("http://service.example/v1", key=None)
    for url in ("http://cdn.example/x", "http://nobody-knows.example/x", "http://8.8.8.8/x"):
        assert await asked(service, url) == b"from afar"
    await service.aclose()
    # A service at home may name places at home; and where all names lead to one place, as behind
    # some proxies, that says nothing.
    names["service.example"] = "198.18.0.1"
    for base, url in (
        ("http://10.0.0.1/v1", "http://10.0.0.2/x"),
        ("http://service.example/v1", "http://fake.example/x"),
    ):
        service = made(base, key=None)
        assert await asked(service, url) == b"from afar"
        await service.aclose()


# Proxies.


async def test_proxies_are_used_but_not_for_this_machine(proxied):
    service = made("http://service.example/v1", allow_http=True)
    assert await asked(service) == b"from afar"
    assert proxied.asked[0].path == "http://service.example/v1/x"
    await service.aclose()
    async with using(answering(b"near")) as (service, server):
        assert await asked(service) == b"near"
        assert await asked(service, f"http://localhost:{server.port}/x") == b"near"
    async with serving(answering(b"near")) as server:
        for host in ("localhost", "127.9.9.9"):
            service = made(f"http://{host}:{server.port}")
            # Whether it is there is not the question: no key goes to the proxy.
            with contextlib.suppress(ProviderError):
                await asked(service)
            await service.aclose()
    assert len(proxied.asked) == 1


async def test_no_proxy_is_honoured(proxied, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "service.example")
    service = made("http://service.example:1/v1", key=None, timeouts={"connect": 0.05})
    with pytest.raises(blazen.BlazenError):
        await asked(service)
    assert not proxied.asked
    await service.aclose()


async def test_a_proxy_does_not_see_the_key_of_an_encrypted_request(monkeypatch):
    async with serving(answering(b"", 407)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret-word@127.0.0.1:{proxy.port}")
        service = made("https://service.example/v1", times=2)
        with pytest.raises(ProviderError, match="could not be reached") as raised:
            await asked(service)
        assert "secret-word" not in str(raised.value)
        (request,) = proxy.asked
        assert (request.method, request.path) == ("CONNECT", "service.example:443")
        assert KEY not in str(request)
        await service.aclose()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "odd://me:secret-word@x"),
        ("HTTPS_PROXY", "http://me:secret-word@x:port"),
        ("SSL_CERT_FILE", __file__),
    ],
)
async def test_settings_of_the_environment_that_can_not_be_used(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    service = made("https://service.example/v1")
    with pytest.raises(ValidationError, match=name) as raised:
        await asked(service)
    assert "secret-word" not in str(raised.value)


# What stays hidden.


def everything(error: BaseException | None) -> str:
    """What a very curious reporter of errors would see: all variables of all frames."""
    seen, texts = set(), []
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        texts += [
            repr(error),
            repr(vars(error)),
            repr(error.args),
            repr(getattr(error, "__notes__", 0)),
        ]
        request = getattr(error, "_request", None)
        if request is not None:
            texts.append(repr(request.headers.raw))
        trace = error.__traceback__
        while trace is not None:
            for value in trace.tb_frame.f_locals.values():
                texts.append(repr(value))
                if isinstance(value, httpx2.Request | httpx2.Response):
                    texts.append(repr(getattr(value, "request", value).headers.raw))
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return "".join(texts)


@pytest.mark.parametrize("behaviour", [reset, silent, odd, cut, answering(b"no", 401)])
async def test_the_key_is_in_no_frame_of_an_error(behaviour):
    async with using(behaviour, timeouts={"idle": 0.1}) as (service, server):
        with pytest.raises(blazen.BlazenError) as raised:
            await asked(service)
        assert server.asked[0].headers["x-key"] == f"Key {KEY}"
        server.asked.clear()
        assert KEY not in everything(raised.value)
        assert KEY not in repr(pickle.dumps(raised.value))


async def test_the_key_is_not_in_what_a_service_repeats():
    repeats = [
        answering({"error": f"you gave {KEY}"}, 400, x_request_id=f"id {KEY}"),
        answering(f"you gave {KEY}".encode(), 400),
        answering(b"", 307, location=f"/k/{KEY}?k={KEY}"),
        answering({"error": "no"}, 400, request_id=KEY),
    ]
    async with using(*repeats) as (service, _):
        for _ in range(3):
            with pytest.raises(ProviderError) as raised:
                await asked(service)
            assert KEY not in str(raised.value) + repr(pickle.dumps(raised.value))
            assert "…" in str(raised.value) + str(raised.value.request_id)


async def test_one_key_may_be_the_beginning_of_another():
    secrets = {"A": ("", Secret("sk-abcdef")), "B": ("", Secret("sk-abcdef-ghi"))}
    assert Keys("https://x.example", secrets).hide("sk-abcdef-ghi, sk-abcdef") == "…, …"


async def test_logs_hold_neither_keys_nor_signatures(caplog):
    caplog.set_level(logging.DEBUG)
    moved = answering(b"", 302, location="/y?sig=signature", x_echo=KEY)
    async with using(moved, answering(b"x", x_echo=KEY)) as (service, server):
        await asked(service, "x?key=signature")
        assert "HTTP Request: GET" in caplog.text
        assert "receive_response_headers.complete" in caplog.text
        assert KEY not in caplog.text
        assert "signature" not in caplog.text
        # What others do with the client is theirs.
        async with httpx2.AsyncClient() as other:
            await other.get(f"{server.url}/z?theirs=1")
        assert "/z?theirs=1" in caplog.text


async def test_cookies_are_not_kept():
    async with using(answering(b"x", set_cookie="who=me; Path=/")) as (service, server):
        await asked(service)
        await asked(service)
        assert "cookie" not in server.asked[1].headers


async def test_offline_is_offline(monkeypatch):
    async with using(answering(b"x")) as (service, server):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # that is about the hub
        assert await asked(service) == b"x"
        for value in ("1", "true", " Yes ", "2", "offline"):
            monkeypatch.setenv("BLAZEN_OFFLINE", value)
            with pytest.raises(ProviderError, match="BLAZEN_OFFLINE is set"):
                await asked(service)
        assert len(server.asked) == 1
        monkeypatch.setenv("BLAZEN_OFFLINE", "0")
        assert await asked(service) == b"x"


# Loops and threads.


async def test_many_loops_use_one_service_at_once():
    async with serving(answering(b"x")) as server:
        service, results = made(server.url), []

        async def several() -> list[bytes]:
            return await asyncio.gather(*(asked(service) for _ in range(5)))

        def run() -> None:
            results.append(asyncio.run(several()))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        results.append(await several())
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert results == [[b"x"] * 5] * 5
        await service.aclose()
        await asyncio.wait_for(server.until_all_left(), PATIENCE)


async def test_closing_closes_the_connections_of_other_loops():
    async with serving(answering(b"x")) as server:
        service = made(server.url)
        blocking = blazen.blocking(Asker(service))
        assert await asyncio.to_thread(blocking.ask) == b"x"
        assert await asked(service) == b"x"
        assert server.connected == 2
        await service.aclose()
        await asyncio.wait_for(server.until_all_left(), PATIENCE)


class Asker:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(self) -> bytes:
        return await asked(self.service)
