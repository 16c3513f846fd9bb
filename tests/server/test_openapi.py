"""The description of the routes, and the page that shows it without a net."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from blazen.catalog import Catalog
from tests.server.conftest import RunningServer, running

pytestmark = pytest.mark.needs("server")


@pytest.fixture(scope="module")
def document(echo_server: RunningServer) -> dict[str, Any]:
    answer = httpx.get(echo_server.url + "/openapi.json", timeout=60)
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_is_the_same_under_both_names(
    echo_server: RunningServer, document: dict[str, Any]
) -> None:
    assert document["openapi"].startswith("3.1")
    assert httpx.get(echo_server.url + "/swagger.json", timeout=60).json() == document


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/audio/transcriptions",
        "/v1/audio/speech",
        "/v1/images/generations",
        "/api/tags",
        "/api/chat",
        "/api/generate",
        "/api/v0/models",
        "/generate",
        "/health",
        "/metrics",
    ],
)
def test_every_route_is_described(document: dict[str, Any], path: str) -> None:
    assert path in document["paths"]


def test_errors_are_described_as_each_api_has_them(document: dict[str, Any]) -> None:
    shapes = {"/v1/": "OpenAiError", "/api/v0/": "OpenAiError", "/api/tags": "OllamaError"}
    for path, method, operation in operations(document):
        responses = operation["responses"]
        assert "422" not in responses, (path, method)
        assert {"4XX", "5XX"} <= set(responses), (path, method)
        for start, name in shapes.items():
            if path.startswith(start):
                schema = responses["4XX"]["content"]["application/json"]["schema"]
                assert schema == {"$ref": f"#/components/schemas/{name}"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    import json

    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= set(document["components"]["schemas"])


def test_no_two_operations_have_one_id(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    bare = [(p, m) for p, m, operation in operations(document) if not operation.get("description")]
    assert bare == []


def test_a_key_is_described_where_there_is_one(echo_catalog: Catalog) -> None:
    with running(echo_catalog, api_key="sesame") as server:
        described = httpx.get(server.url + "/openapi.json", timeout=60).json()
    assert described["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
    assert {"key": []} in described["security"]
    assert "sesame" not in str(described)


def test_the_page_needs_nothing_from_elsewhere(echo_server: RunningServer) -> None:
    answer = httpx.get(echo_server.url + "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    texts = [answer.text]
    for place in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        part = httpx.get(f"{echo_server.url}/{place}", timeout=60)
        assert part.status_code == 200, place
        texts.append(part.text if place.startswith("docs/") else "")
    assert len(texts) >= 3
    for text in texts:
        assert "://" not in text
        assert "innerHTML" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", answer.text)
    assert httpx.get(echo_server.url + "/docs/..%2froutes.py").status_code == 404


@pytest.mark.needs("server", "clients")
def test_the_page_shows_the_routes_in_a_browser(echo_server: RunningServer) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            page = browser.new_page()
            problems: list[str] = []
            page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
            page.goto(echo_server.url + "/docs")
            route = page.locator("details", has_text="/v1/embeddings").first
            route.locator("summary").click()
            assert "input" in route.inner_text()
            page.get_by_role("searchbox").fill("/api/tags")
            page.wait_for_function(
                "document.querySelectorAll('details:not([hidden])').length === 1"
            )
            assert problems == []
        finally:
            browser.close()
