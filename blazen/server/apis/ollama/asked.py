"""What Ollama's API is asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from blazen.server.apis.ollama.keeping import read_duration
from blazen.server.fields import WHOLE, Body, Flag, JsonObject, Number, Text, Whole
from blazen.server.reading import MOST_MESSAGES
from blazen.server.sampling import Stop, Stops

Name = Annotated[Text, Field(min_length=1)]
KeepAlive = Annotated[
    float,
    BeforeValidator(read_duration),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]
"""Seconds, or a text such as ``5m``; what is below 0 is for ever, and -1 here."""

Format = Literal["", "json"] | JsonObject
Think = Flag | Literal["low", "medium", "high"]
_Count = Annotated[int, Field(ge=0), WHOLE]


class Options(Body):
    """How to answer, in Ollama's words."""

    num_predict: Whole | None = None
    temperature: Annotated[Number, Field(ge=0)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1), WHOLE] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[Number, Field(ge=0)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    mirostat: Literal[0, 1, 2] | None = None
    mirostat_tau: Annotated[Number, Field(ge=0)] | None = None
    mirostat_eta: Annotated[Number, Field(ge=0)] | None = None
    seed: Whole | None = None
    stop: Stop | Stops | None = None
    num_ctx: _Count | None = None


class Asked(Body):
    """What every request names."""

    model: Name
    keep_alive: KeepAlive | None = None
    options: Options | None = None


class Answering(Asked):
    """What requests for an answer have in common."""

    stream: Flag | None = None
    format: Format | None = None
    think: Think | None = None
    logprobs: Flag | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None


class GenerateBody(Answering):
    """A prompt to be answered."""

    prompt: Text | None = None
    suffix: Text | None = None
    system: Text | None = None
    template: Text | None = None
    context: list[Annotated[int, Field(ge=0, lt=2**31), WHOLE]] | None = None
    raw: Flag | None = None
    images: list[str] | None = None
    width: Whole | None = None
    height: Whole | None = None
    steps: Whole | None = None


class Called(Body):
    """A function that an earlier answer called."""

    name: Text
    arguments: JsonObject = Field(default_factory=dict)


class Call(Body):
    """A call of an earlier answer."""

    id: Text | None = None
    function: Called


class Message(Body):
    """A message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text | None = None
    thinking: Text | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: Text | None = None
    tool_call_id: Text | None = None


class Function(Body):
    """A function that may be called."""

    name: Text
    description: Text | None = None
    parameters: JsonObject | None = None


class ToolBody(Body):
    """A tool: a function of the caller's."""

    type: Literal["function"] | None = None
    function: Function


class ChatBody(Answering):
    """A conversation to be gone on with."""

    messages: Annotated[list[Message], Field(max_length=MOST_MESSAGES)] | None = None
    tools: list[ToolBody] | None = None


class EmbedBody(Asked):
    """Texts to be embedded."""

    input: Text | list[Text] | None = None
    truncate: Flag | None = None
    dimensions: Annotated[int, Field(ge=1), WHOLE] | None = None


class EmbeddingsBody(Asked):
    """A text to be embedded."""

    prompt: Text | None = None


class ShowBody(Body):
    """The model to be shown: as ``model``, or as ``name`` in the way of older clients."""

    model: Text | None = None
    name: Text | None = None
    verbose: Flag | None = None


class PullBody(Body):
    """The model to be fetched: as ``model``, or as ``name`` in the way of older clients."""

    model: Text | None = None
    name: Text | None = None
    insecure: Flag | None = None
    stream: Flag | None = None


def more_of(body: Body) -> dict[str, Any]:
    """Give what a body holds beside the fields that it knows, without what is ``null``."""
    return {name: value for name, value in (body.model_extra or {}).items() if value is not None}
