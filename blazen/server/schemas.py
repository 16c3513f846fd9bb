"""How large a JSON schema of a request may be: an engine works on a huge one for minutes."""

from __future__ import annotations

from typing import Any

from blazen.server.refusals import RefusedError

MOST_VALUES = 1000
MOST_PROPERTIES = 5000
"""Both as in OpenAI's own API: the time that an engine takes grows with the square of them."""


def check_schema(schema: Any, param: str) -> None:
    """Refuse a schema that would keep the engine from all others for long."""
    values = properties = 0
    left = [schema]
    while left:
        here = left.pop()
        if isinstance(here, list):
            left += here
        elif isinstance(here, dict):
            listed, named = here.get("enum"), here.get("properties")
            values += len(listed) if isinstance(listed, list) else 0
            properties += len(named) if isinstance(named, dict) else 0
            left += here.values()
    for count, most, what in (
        (values, MOST_VALUES, "values in its enums"),
        (properties, MOST_PROPERTIES, "properties"),
    ):
        if count > most:
            raise RefusedError(
                f"the schema has {count:,} {what}: at most {most:,} are taken", param=param
            )
