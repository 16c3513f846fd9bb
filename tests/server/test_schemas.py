"""Schemas that would keep an engine from all others are refused, and those of real life are not."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.needs("server")

BOUNDED = {"type": "integer", "minimum": 1, "maximum": 10**9}


def texts(count: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {f"p{n}": {"type": "string"} for n in range(count)},
        **more,
    }


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"enum": list(range(1001))}, "1,001 values and branches"),
        ({"anyOf": [{"const": n} for n in range(1001)]}, "1,001 values and branches"),
        ({"oneOf": [{"const": n} for n in range(1001)]}, "1,001 values and branches"),
        ({"pattern": f"^({'|'.join(f'v{n}' for n in range(1001))})$"}, "values and branches"),
        (texts(5001, required=[f"p{n}" for n in range(5001)]), "5,001 properties"),
        (texts(2001), "2,001 properties that are not required"),
        ({"prefixItems": [BOUNDED] * 251}, "251 numbers with bounds"),
        ({"enum": ["x" * 1000] * 121}, "121,000 characters"),
        ({"const": "x" * 120_001}, "120,001 characters"),
        ({"pattern": "^(a|bc)?(c|de)?(a|bf)?$".replace("$", "(a|bg)?" * 10 + "$")}, "13 parts"),
        ({"pattern": "^((a|bc)?(d|ef)?){7}$"}, "14 parts"),
        ({"items": {"$defs": {"a": {"enum": list(range(1001))}}}}, "1,001 values"),
    ],
)
def test_what_holds_an_engine_for_long_is_refused(schema: dict[str, Any], what: str) -> None:
    from blazen.server.refusals import RefusedError
    from blazen.server.schemas import check_schema

    with pytest.raises(RefusedError, match=what) as refused:
        check_schema(schema, "format")
    assert (refused.value.status, refused.value.param) == (400, "format")


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": list(range(1000))},
        texts(2000),
        texts(5000, required=[f"p{n}" for n in range(3000)]),
        {"pattern": r"^(https?://)?([\da-z.-]+)\.([a-z.]{2,6})([/\w .-]*)/?$"},
        {"pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?$"},
        {"pattern": "("},  # what is wrong with it is said by whoever reads it
        {"enum": "x", "properties": 5, "required": 5, "anyOf": None, "pattern": 5, "minimum": "x"},
        [],
        None,
    ],
)
def test_what_is_usual_passes(schema: Any) -> None:
    from blazen.server.schemas import check_schema

    check_schema(schema, "format")
