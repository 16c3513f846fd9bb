"""Who speaks OpenAI's API: all rows, and which of them is meant."""

from __future__ import annotations

from dataclasses import replace

from blazen.checks import unknown_name
from blazen.errors import ValidationError
from blazen_openai.cloud_rows import CLOUD_ROWS
from blazen_openai.gateway import Gateway
from blazen_openai.server_rows import SERVER_ROWS

GATEWAYS: dict[str, Gateway] = {row.name: row for row in (*CLOUD_ROWS, *SERVER_ROWS)}
"""All rows, by name."""


def find_gateway(name: str | None, base_url: str | None = None) -> Gateway:
    """Give a row by its name; without one, OpenAI or whoever answers at the base URL."""
    from blazen.remote.url import split

    place = None if base_url is None else split(base_url)
    host = "" if place is None else place.hostname or ""
    if name is None:
        ours = place is None or host == "openai.com" or host.endswith(".openai.com")
        name = "openai" if ours else "compatible"
    if name not in GATEWAYS:
        raise ValidationError(unknown_name("gateway", name, list(GATEWAYS)))
    row = GATEWAYS[name]
    if row.name == "compatible" and place is not None:
        return replace(row, title=f"{host}:{place.port}" if place.port else host)
    return row
