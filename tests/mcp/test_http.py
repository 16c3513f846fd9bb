"""The same tools over HTTP: real requests to a real server, and who is turned away."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
import uvicorn
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from blazen.catalog import Catalog
from blazen.errors import ValidationError
from blazen.mcp import app
from blazen.mcp.http import MAX_BODY, is_loopback, serve_http
from tests.mcp.conftest import ask, until

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")

PARIS = [{"role": "user", "content": "What is the capital of France? One word."}]
ENDLESS = {"prompt": "1, 2, 3,", "raw": True, "max_tokens": 100_000}
WAIT = 120
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@asynccontextmanager
async def served(catalog: Catalog, **settings: Any) -> AsyncIterator[str]:
    """A server on a free port, and its URL."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        serve_http(catalog.start(), "127.0.0.1", 0, on_ready=ready.set_result, **settings)
    )
    both: list[asyncio.Future[Any]] = [serving, ready]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    try:
        yield await ready
    finally:
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_the_sdk_asks(
    catalog: Catalog, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "blazen")
    heard: list[str] = []
    begun = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")
        if "token" in heard[-1]:
            begun.set()

    async with served(catalog) as url, Client(url, mode=mode) as client:
        asked = {"messages": PARIS, "temperature": 0}
        answer = await ask(client, "chat", asked, progress_callback=hear)
        assert answer.structured_content["text"] == "The capital of France is Paris."
        assert heard[0] == "loading starter:chat"
        assert re.fullmatch(r"\d+ tokens", heard[-1])
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "path" not in tools["transcribe"].input_schema["properties"]
        begun.clear()
        call = asyncio.ensure_future(ask(client, "generate", ENDLESS, progress_callback=hear))
        await asyncio.wait_for(begun.wait(), WAIT)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(
            lambda: re.search(r"generate (was cancelled|ended with its client)", caplog.text)
        )
        again = await ask(client, "chat", asked)
        assert again.structured_content["text"] == answer.structured_content["text"]
    assert "unloaded starter:chat" in caplog.text


async def test_a_client_that_goes_stops_its_answer(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "blazen.mcp")
    async with served(catalog) as url, httpx.AsyncClient(headers=HEADERS, timeout=WAIT) as client:
        hello = await client.post(url, json=HELLO)
        session = {"mcp-session-id": hello.headers["mcp-session-id"]}
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await client.post(url, json=done, headers=session)).status_code == 202
        call = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "generate", "arguments": ENDLESS, "_meta": {"progressToken": 7}},
        }
        async with client.stream("POST", url, json=call, headers=session) as answer:
            async for line in answer.aiter_lines():
                if "tokens" in line:
                    break
        await until(lambda: "generate ended with its client" in caplog.text)


async def test_the_server_ends_while_clients_listen(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "blazen")
    begun = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if "token" in (message or ""):
            begun.set()

    async def talk(url: str) -> None:
        async with Client(url, mode="legacy") as client:
            await ask(client, "generate", ENDLESS, progress_callback=hear)

    async with served(catalog) as url:
        call = asyncio.ensure_future(talk(url))
        await asyncio.wait_for(begun.wait(), WAIT)
    assert "unloaded starter:chat" in caplog.text
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled() or call.exception() is not None


async def test_a_key_is_asked_for(catalog: Catalog) -> None:
    async with served(catalog, key="sesame") as url:
        async with httpx.AsyncClient(headers=HEADERS) as plain:
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": "Bearer"},
                {"Authorization": "Basic sesame"},
            ):
                refused = await plain.post(url, json=HELLO, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert "Bearer KEY" in refused.json()["error"]
        key = {"Authorization": "Bearer sesame"}
        async with (
            httpx2.AsyncClient(headers=key) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            assert len((await client.list_tools()).tools) == 6


async def test_other_hosts_and_pages_of_others_are_turned_away(catalog: Catalog) -> None:
    async with (
        served(catalog, hosts=["models.home"]) as url,
        httpx.AsyncClient(headers=HEADERS) as client,
    ):

        async def status(**headers: str) -> int:
            return (await client.post(url, json=HELLO, headers=headers)).status_code

        assert await status() == 200
        for good in ("localhost:1", "localhost", "[::1]:80", "models.home", "models.home:9"):
            assert await status(Host=good) == 200
        for evil in ("evil.example", "evil.example:8643", "localhost.evil.example", "10.0.0.1"):
            assert await status(Host=evil) == 421
        assert await status(Origin="http://localhost:3000") == 200
        assert await status(Origin="https://models.home") == 200
        for page in ("https://evil.example", "null", "http://localhost.evil.example"):
            assert await status(Origin=page) == 403
        assert (await client.options(url)).status_code == 405


async def test_what_is_too_large_or_no_message_is_refused(catalog: Catalog) -> None:
    async with served(catalog) as url, httpx.AsyncClient(headers=HEADERS, timeout=WAIT) as client:
        assert (await client.post(url, content=b" " * (MAX_BODY + 1))).status_code == 413
        for content in (b"", b"{", b"[]", b"{}", b"[" * 100_000, b"\xff"):
            answer = await client.post(url, content=content)
            assert answer.status_code == 400, content[:10]
            assert "Traceback" not in answer.text
        text = {"Content-Type": "text/plain"}
        assert (await client.post(url, content=b"{}", headers=text)).status_code == 400
        assert (await client.post(url.replace("/mcp", "/"), json=HELLO)).status_code == 404
        assert (await client.post(url, json=HELLO)).status_code == 200


async def test_the_app_runs_alone_and_mounted(catalog: Catalog) -> None:
    async with catalog.start() as models:
        alone = app(lambda: models)
        with pytest.raises(RuntimeError, match="running"):
            await _ask(alone)
        for _ in range(2):  # it may be run again
            async with alone.running():
                assert (await _ask(alone)).status_code == 200
        config = uvicorn.Config(alone, port=0, log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals  # type: ignore[method-assign]
        serving = asyncio.ensure_future(server.serve())
        await until(lambda: server.started or serving.done())
        port = server.servers[0].sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}/anything") as client:
            assert len((await client.list_tools()).tools) == 6
        server.should_exit = True
        await serving


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()


async def _ask(it: Any) -> httpx.Response:
    transport = httpx.ASGITransport(it)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/", json=HELLO, headers=HEADERS)
        data = next(ln for ln in answer.text.splitlines() if ln.startswith("data: {"))
        assert json.loads(data[6:])["result"]["serverInfo"]["name"] == "blazen"
        return answer


async def test_a_port_that_is_taken_is_said(catalog: Catalog) -> None:
    async with served(catalog) as url:
        port = int(re.findall(r":(\d+)/", url)[0])
        with pytest.raises(ValidationError, match=rf"can't listen at 127.0.0.1:{port}"):
            await serve_http(catalog.start(), "127.0.0.1", port)


def test_which_addresses_others_can_reach() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org", "")))
