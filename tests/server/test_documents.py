"""The pages about the server say what is so: each route stands there, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def test_all_routes_stand_in_the_page(echo_server: Any) -> None:
    text = (DOCS / "server-api.md").read_text("utf-8")
    shown = set(re.findall(r"`(?:(?:GET|POST|DELETE) )?(/[\w/{}.-]+)`", text))
    shown.discard("/openapi.json")
    shown.discard("/docs")
    shown.discard("/v1")
    shown.discard("/mcp")  # speaks a protocol of its own
    assert shown == set(echo_server.app.openapi()["paths"])


def test_the_methods_are_theirs(echo_server: Any) -> None:
    text = (DOCS / "server-api.md").read_text("utf-8")
    paths = echo_server.app.openapi()["paths"]
    found = re.findall(r"`(GET|POST|DELETE) (/[\w/{}.-]+)`", text)
    assert len(found) > 40
    for method, path in found:
        assert method.lower() in paths[path], (method, path)
