"""The shape that an answer must have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from blazen.checks import check_choice
from blazen.errors import OutputError, ValidationError
from blazen.types.record import Record


@dataclass(frozen=True)
class ResponseFormat(Record):
    """The shape that an answer must have; a model that can't be held to it refuses.

    Where options take one, they also take what plainly is one: a class (a Pydantic model, a
    dataclass, any type that JSON can hold), a JSON schema as a dictionary, or ``"json"``.
    """

    kind: Literal["json", "schema", "regex", "grammar"]
    rule: str | dict[str, Any] | None = None
    """The JSON schema, the regular expression, or the grammar in GBNF."""
    type: Any = field(default=None, compare=False, repr=False)
    """What `ModelResponse.parsed` will be: the class that the schema was read from."""

    def __post_init__(self) -> None:
        check_choice("the kind of a response_format", self.kind, ("json", *_RULES))
        wanted = _RULES.get(self.kind)
        if wanted is None:
            fits = self.rule is None
        else:
            fits = isinstance(self.rule, wanted) and (wanted is dict or bool(self.rule))
        if not fits:
            raise ValidationError(f"a {self.kind} response_format can't be {self.rule!r:.80}")

    @classmethod
    def json(cls) -> ResponseFormat:
        """Any JSON object."""
        return cls("json")

    @classmethod
    def regex(cls, pattern: str) -> ResponseFormat:
        """Text that a regular expression matches from its first character to its last."""
        return cls("regex", pattern)

    @classmethod
    def grammar(cls, gbnf: str) -> ResponseFormat:
        """Text of a grammar in llama.cpp's GBNF, from its rule ``root``."""
        return cls("grammar", gbnf)

    @classmethod
    def schema(cls, schema: Any) -> ResponseFormat:
        """JSON of a schema: a dictionary, or the class to read it from and to give back."""
        if isinstance(schema, Mapping):
            return cls("schema", dict(schema))
        from blazen.schema import schema_of

        return cls("schema", schema_of(schema), schema)

    @classmethod
    def of(cls, value: Any) -> ResponseFormat:
        """Give a format of whatever options take for one."""
        if isinstance(value, cls):
            return value
        if value == "json":
            return cls.json()
        if isinstance(value, str):
            raise ValidationError(
                f"response_format {value!r:.80} is a text: give 'json', a class, a JSON schema, "
                "ResponseFormat.regex(...) or ResponseFormat.grammar(...)"
            )
        if isinstance(value, Mapping) and "kind" in value and set(value) <= {"kind", "rule"}:
            return cls.from_dict(value)
        if isinstance(value, Mapping) and value.get("type") in ("json_object", "json_schema"):
            raise ValidationError(
                f"response_format {dict(value)!r:.80} is as OpenAI's API has it: give 'json', or "
                "the JSON schema itself"
            )
        return cls.schema(value)

    def parse(self, text: str) -> Any:
        """Read an answer: JSON as its values or as the class; what does not fit is an error."""
        if self.kind == "grammar":
            return text
        if self.kind == "regex":
            from blazen.schema import full_match

            if not full_match(str(self.rule), text):
                raise OutputError(
                    f"the answer does not match {self.rule!r}: {text!r:.80}", text=text
                )
            return text
        try:
            value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise OutputError(
                f"the answer is no JSON: {text!r:.80} ({error})", text=text
            ) from error
        if self.kind == "json":
            if not isinstance(value, dict):
                raise OutputError(f"the answer is no JSON object: {text!r:.80}", text=text)
            return value
        from blazen.schema import read_value

        try:
            return read_value(value, self.rule, self.type)
        except ValidationError as error:
            raise OutputError(f"the answer does not fit its schema: {error}", text=text) from error

    def to_dict(self) -> dict[str, Any]:
        """Give a dictionary of plain JSON values; a class is not among them."""
        return {"kind": self.kind} if self.rule is None else {"kind": self.kind, "rule": self.rule}


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits:.40} is too large")
    return number


_RULES: dict[str, type] = {"schema": dict, "regex": str, "grammar": str}
