"""What OpenAI's kinds of models beside chat do alike: refuse by name, read answers with care."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from blazen.errors import UnsupportedError
from blazen.remote.sdk import Sdk

T = TypeVar("T")


def refuse(provider: str, options: Any, reasons: Mapping[str, str]) -> None:
    """Refuse what the API can't do: ``reasons`` says why, by the option's name."""
    for option in fields(options):
        reason = reasons.get(option.name)
        if reason is not None and getattr(options, option.name) != option.default:
            raise UnsupportedError(f"{provider} takes no {option.name!r}: {reason}")


def given(**values: T | None) -> dict[str, T]:
    """Give the fields of a request that are set."""
    return {name: value for name, value in values.items() if value is not None}


def checked(sdk: Sdk[Any], answer: Any) -> Any:
    """Give an answer, or an event, that is an object and tells of no error."""
    if isinstance(answer, (str, bytes)):
        answer = _parsed(sdk, answer)
    if isinstance(answer, Mapping):
        error = answer.get("error")
    else:
        error = getattr(answer, "error", None)
        if not hasattr(answer, "model_fields_set"):
            raise sdk.malformed(f"{answer!r:.80} where an object was expected")
    if error:
        raise sdk.error_inside({"error": error})
    if isinstance(answer, Mapping):
        raise sdk.malformed(f"{dict(answer)!r:.80} with another content type than JSON's")
    return answer


def field(sdk: Sdk[Any], answer: Any, name: str, kind: type[T]) -> T:
    """Give a field of an answer, which must be there and of its type."""
    value = getattr(answer, name, None)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise sdk.malformed(f"{name} is {value!r:.80}, and no {kind.__name__}")
    return value


def _parsed(sdk: Sdk[Any], text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise sdk.malformed(f"{text[:80]!r} where JSON was expected", error) from error
