"""Whatever our own OpenAPI document allows, and much that it does not, asked by schemathesis.

All of its checks hold: no server error, each answer of its schema and its content type, what breaks
the schema refused. It runs for some seconds; ``BLAZEN_SCHEMATHESIS_SECONDS=180`` gives it more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import leases, running, wait_for

pytestmark = [
    pytest.mark.needs("server", "clients", "images", "audio", "mesh"),
    pytest.mark.long,
]

SECONDS = int(os.environ.get("BLAZEN_SCHEMATHESIS_SECONDS", "30"))

# A schema can't say everything: that a text is not blank, that a tool which is named is among the
# tools. So a request that fits it may still be refused, by a message of the API's own shape.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "429", "503"]
"""

# A name of chance leads to no model: mostly it is to be one that there is.
HOOKS = """
import schemathesis

KINDS = {
    "embed": "echo-embed", "transcri": "echo-hear", "translat": "echo-hear",
    "audio/speech": "echo-speak", "audio/voices": "echo-speak", "images": "echo-image",
    "mesh": "echo-mesh", "rerank": "echo-rerank",
}


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("model"), str) and len(body["model"]) % 4:
        path = context.operation.path
        body["model"] = next((name for word, name in KINDS.items() if word in path), "echo")
    return body
"""


@pytest.mark.parametrize("key", [None, "a-key-of-the-test"])
def test_the_routes_are_as_the_document_says(
    echo_catalog: Any, tmp_path: Path, key: str | None
) -> None:
    with running(echo_catalog, api_key=key) as server:
        _ask(server, tmp_path, key)
        for model in server.manager.status().models:
            wait_for(lambda name=model.id: leases(server, name) == 0)  # type: ignore[misc]
        assert server.manager.status().waiting == 0


def _ask(server: Any, tmp_path: Path, key: str | None) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    (tmp_path / "chosen_models.py").write_text(HOOKS)
    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("run", f"{server.url}/openapi.json"),
            *("--checks", "all"),
            *("--max-time", str(SECONDS // 2)),
            *("--generation-database", "none"),
            *("--warnings", "off"),
            "--continue-on-failure",
            "--no-shrink",
            "--no-color",
            *(() if key is None else ("--header", f"Authorization: Bearer {key}")),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "chosen_models", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=10 * SECONDS + 300,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert " generated" in found.stdout, "it asked nothing"
