"""Options of commands that have a chat model answer: how it samples, and the shape it keeps to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.checks import check_range
from blazen.cli.gathering import gathered
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.types.completion import CompletionOptions

_HIGHEST = {"temperature": 5, "repeat_penalty": 10}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _sampling(
    schema: Path | None, json_schema: str | None, stop: tuple[str, ...], **plain: Any
) -> dict[str, Any]:
    chosen = {name: value for name, value in plain.items() if value is not None}
    if stop:
        chosen["stop"] = stop
    if schema is not None and json_schema is not None:
        raise click.UsageError("--schema and --json-schema both say the answer's shape: give one")
    if schema is not None:
        chosen["response_format"] = _read_schema(schema.read_text("utf-8"), str(schema))
    elif json_schema is not None:
        chosen["response_format"] = _read_schema(json_schema, "--json-schema")
    return chosen


def sampled(options: Mapping[str, Any]) -> CompletionOptions:
    """Make the options of an answer, and refuse numbers that only a slip of the hand can mean.

    An engine takes any, and answers with noise.
    """
    from blazen.types.completion import CompletionOptions

    made = CompletionOptions.of(options)
    for name, most in _HIGHEST.items():
        check_range(name, getattr(made, name), at_most=most)
    return made


def _read_schema(text: str, where: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"{where} is no JSON schema: {error}") from error
    if not isinstance(schema, dict):
        raise ValidationError(f"{where} is no JSON schema: it must be an object, not {text:.60}")
    return schema


sampling_options = gathered(
    "sampling",
    (
        (
            ("-n", "--max-tokens"),
            {"type": int, "metavar": "N", "help": "How many tokens the answer may have."},
        ),
        (
            ("-t", "--temp", "--temperature", "temperature"),
            {"type": float, "metavar": "X", "help": "How freely to choose; 0 takes the likeliest."},
        ),
        (
            ("--top-p",),
            {"type": float, "metavar": "X", "help": "Choose among the likeliest of this weight."},
        ),
        (
            ("--top-k",),
            {"type": int, "metavar": "N", "help": "Choose among this many; 0 is all."},
        ),
        (
            ("--min-p",),
            {"type": float, "metavar": "X", "help": "Leave out what is this much less likely."},
        ),
        (
            ("--repeat-penalty",),
            {"type": float, "metavar": "X", "help": "How unwelcome repetitions are; 1 is neutral."},
        ),
        (("--seed",), {"type": int, "metavar": "N", "help": "Choose the same way each time."}),
        (
            ("--stop",),
            {"multiple": True, "metavar": "TEXT", "help": "End where this comes (repeatable)."},
        ),
        (
            ("--reasoning/--no-reasoning",),
            {"default": None, "help": "Have a model that can reason do so, or not."},
        ),
        (
            ("--schema",),
            {"type": _FILE, "metavar": "FILE", "help": "Hold the answer to a JSON schema."},
        ),
        (("--json-schema",), {"metavar": "JSON", "help": "The same, with the schema itself."}),
    ),
    _sampling,
)
"""The command gets ``sampling``: what `CompletionOptions` takes, of what the user has set."""
