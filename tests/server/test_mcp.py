"""The tools of the Model Context Protocol at the server's own address, behind its gate."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

from blazen.catalog import Catalog
from blazen.server.tools import Tools
from tests.server.conftest import RunningServer, leases, running, wait_for

pytestmark = pytest.mark.needs("server", "mcp", "clients")

PARIS = [{"role": "user", "content": "What is the capital of France? One word."}]
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
DONE = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.mark.needs("xllamacpp", "starter:chat")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_the_sdk_asks_the_server_s_models(
    server: RunningServer, mode: Any
) -> None:
    from mcp.client import Client

    async with Client(f"{server.url}/mcp", mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"generate", "chat", "embed", "transcribe", "speak", "models"}
        assert "path" not in tools["transcribe"].input_schema["properties"]
        asked = {"model": "chat", "messages": PARIS, "temperature": 0}
        answer = await client.call_tool("chat", asked)
    assert answer.structured_content is not None
    assert answer.structured_content["text"] == "The capital of France is Paris."
    status = next(one for one in server.manager.status().models if one.id == "chat")
    assert (status.state.value, status.leases) == ("ready", 0)  # the server's own model


def session(server: RunningServer) -> dict[str, str]:
    """Begin a session, and give the headers that go on with it."""
    hello = httpx.post(f"{server.url}/mcp", json=HELLO, headers=HEADERS)
    headers = HEADERS | {"mcp-session-id": hello.headers["mcp-session-id"]}
    assert httpx.post(f"{server.url}/mcp", json=DONE, headers=headers).status_code == 202
    return headers


def test_a_client_that_goes_stops_its_answer(echo_server: RunningServer) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {
            "name": "chat",
            "arguments": {"model": "slow-echo", "messages": PARIS, "max_tokens": 4096},
            "_meta": {"progressToken": 7},
        },
    }
    headers = session(echo_server)
    url = f"{echo_server.url}/mcp"
    with httpx.stream("POST", url, json=call, headers=headers, timeout=60) as answer:
        for line in answer.iter_lines():
            if "tokens" in line:
                break
        assert leases(echo_server, "slow-echo") == 1
    wait_for(lambda: leases(echo_server, "slow-echo") == 0)
    wait_for(lambda: echo_server.service.counters.going == 0)


def test_the_gate_stands_before_it(echo_catalog: Catalog) -> None:
    with running(echo_catalog, api_key="sesame", max_body="64KiB", max_json_values=100) as server:
        url = f"{server.url}/mcp"

        def asked(content: bytes | None = None, **more: str) -> httpx.Response:
            body = json.dumps(HELLO).encode() if content is None else content
            headers = HEADERS | {"Authorization": "Bearer sesame"} | more
            return httpx.post(url, content=body, headers=headers, timeout=60)

        assert asked().status_code == 200
        assert asked(Authorization="Bearer wrong").status_code == 401
        assert asked(Host="evil.example").status_code == 403
        assert asked(Origin="https://evil.example").status_code == 403
        assert asked(b" " * (80 << 10)).status_code == 413
        assert asked(b"[" * 500).status_code == 400
        many = asked(json.dumps({**HELLO, "params": {"more": [1] * 5000}}).encode())
        assert (many.status_code, "more than 100 values" in many.text) == (413, True)
        assert asked(b"{").status_code == 400
        assert asked(None, **{"Content-Type": "text/plain"}).status_code == 415
        assert asked().status_code == 200


async def test_who_listens_is_let_go_when_the_server_stops(echo_catalog: Catalog) -> None:
    with running(echo_catalog, shutdown_timeout=600.0) as server:
        headers = await asyncio.to_thread(session, server)
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream("GET", f"{server.url}/mcp", headers=headers) as listening,
        ):
            assert listening.status_code == 200
            await asyncio.to_thread(server.stop)  # it would wait for ten minutes
            assert await listening.aread() == b""


def test_without_the_extra_there_is_no_such_route(
    echo_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = find_spec
    monkeypatch.setattr(
        "blazen.server.tools.find_spec", lambda name: None if name == "mcp" else known(name)
    )
    with running(echo_catalog) as server:
        answer = httpx.post(f"{server.url}/mcp", json=HELLO, headers=HEADERS)
        assert answer.status_code == 404


def test_it_is_no_part_of_the_description(echo_server: RunningServer) -> None:
    assert Tools.of(lambda: echo_server.service.open, echo_server.settings) is not None
    assert "/mcp" not in httpx.get(f"{echo_server.url}/openapi.json").json()["paths"]
