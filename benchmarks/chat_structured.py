"""Two hundred answers over forty schemas: how many are valid."""

from __future__ import annotations

from typing import Any

from benchmarks import blazen_models as ours
from blazen import CompletionOptions, OutputError
from tests.schema.schemas import SCHEMAS

ANSWERS = 200
ROOM = 400


def run() -> dict[str, Any]:
    """An answer counts as valid when `jsonschema`, which blazen does not ask, says so."""
    figures: dict[str, Any] = {}
    for backend in ("llamacpp", "xllamacpp"):
        with ours.loaded(backend, threads=1, parallel=1) as mine:
            figures[backend] = mine.run(_measure(mine.model))
    return {**figures, "schemas": len(SCHEMAS)}


async def _measure(model: Any) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    valid = cut = wrong = 0
    for number in range(ANSWERS):
        name, schema = SCHEMAS[number % len(SCHEMAS)]
        options = CompletionOptions(
            max_tokens=ROOM, temperature=1.0, seed=number, response_format=schema
        )
        try:
            answer = await model.complete(f"Make up an example of: {name}.", options)
        except OutputError as error:
            # The only error there may be: the answer was longer than its room, and says so.
            cut += "max_tokens" in str(error)
            wrong += "max_tokens" not in str(error)
            continue
        fits = Draft202012Validator(schema).is_valid(answer.parsed)
        valid, wrong = valid + fits, wrong + (not fits)
    return {
        "answers": ANSWERS,
        "valid": valid,
        "cut_and_said_so": cut,
        "wrong": wrong,
    }
