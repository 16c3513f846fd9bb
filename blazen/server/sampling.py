"""How to answer: sampling, limits and the answer's shape, as OpenAI's API writes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from blazen.server.fields import WHOLE, Body, Flag, JsonObject, Number, Text, Whole, writable_text
from blazen.server.refusals import RefusedError
from blazen.server.schemas import check_schema
from blazen.types.response_format import ResponseFormat


class SchemaFormat(Body):
    """A JSON schema, with a name."""

    name: Text | None = None
    description: Text | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: Flag | None = None


class Format(Body):
    """The shape that the answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


MOST_STOPS = 256
MOST_BIASES = 10_000
"""Each is looked for at every token of the answer, which half a million would slow down for all."""


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MOST_BIASES:
        raise ValueError(f"must have at most {MOST_BIASES:,} tokens, not {len(value):,}")
    return value


Stop = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(writable_text)]
Stops = Annotated[list[Stop], Field(max_length=MOST_STOPS)]
Bias = Annotated[
    dict[Annotated[str, Field(pattern="^[0-9]{1,10}$")], Number],
    BeforeValidator(_few),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MOST_BIASES,
            "patternProperties": {"^[0-9]{1,10}$": {"type": "number"}},
            "additionalProperties": False,
        }
    ),
]


def _limit(value: int) -> int:
    if value == 0:
        raise ValueError("must be at least 1, or -1 for no limit")
    return value


Limit = Annotated[
    int,
    Field(ge=-1),
    WHOLE,
    AfterValidator(_limit),
    WithJsonSchema({"anyOf": [{"const": -1}, {"type": "integer", "minimum": 1}]}),
]
"""How many tokens; -1 says that there is no limit."""


class Sampling(Body):
    """How to answer: the settings that all chat and completion routes take."""

    temperature: Annotated[Number, Field(ge=0)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1), WHOLE] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[Number, Field(ge=0)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    seed: Whole | None = None
    stop: Stop | Stops | None = None
    max_tokens: Limit | None = None
    mirostat: Literal[0, 1, 2] | None = None
    mirostat_tau: Annotated[Number, Field(ge=0)] | None = None
    mirostat_eta: Annotated[Number, Field(ge=0)] | None = None
    logit_bias: Bias | None = None

    def settings(self) -> dict[str, Any]:
        """Give them as `CompletionOptions` has them."""
        given: dict[str, Any] = {
            name: value for name in _ALIKE if (value := getattr(self, name)) is not None
        }
        if self.top_k is not None:
            given["top_k"] = max(self.top_k, 0)  # -1, too, says "all of them"
        if self.seed is not None and self.seed != -1:  # which others take for "draw one"
            given["seed"] = self.seed % 2**32
        if self.mirostat:
            given["mirostat"] = self.mirostat
        if self.stop:
            given["stop"] = self.stop
        limit = self.most_tokens()
        if limit is not None and limit != -1:
            given["max_tokens"] = limit
        if self.logit_bias:
            given["logit_bias"] = {int(token): bias for token, bias in self.logit_bias.items()}
        return given

    def most_tokens(self) -> int | None:
        """Give the most tokens of an answer as the request says it."""
        return self.max_tokens


_ALIKE = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "mirostat_tau",
    "mirostat_eta",
)


def read_format(given: Format | None) -> ResponseFormat | None:
    """Give the shape that the answer must have; the engine holds it to that, strict or not."""
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return ResponseFormat.json()
    if given.json_schema is None or given.json_schema.schema_ is None:
        raise RefusedError(
            "response_format of type 'json_schema' needs the schema, as 'json_schema': "
            "{'name': ..., 'schema': {...}}",
            param="response_format.json_schema",
        )
    check_schema(given.json_schema.schema_, "response_format.json_schema.schema")
    return ResponseFormat.schema(given.json_schema.schema_)
