"""What a request to ``/v1/responses`` may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from blazen.server.fields import WHOLE, Body, Flag, JsonObject, Text
from blazen.server.reading import MOST_MESSAGES, AudioPart, RefusalPart, TextPart
from blazen.server.sampling import Sampling

MOST_METADATA = 64


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MOST_METADATA:
        raise ValueError(f"must have at most {MOST_METADATA} entries, not {len(value):,}")
    return value


class InputImage(Body):
    """A picture, as a part of a message."""

    type: Literal["input_image"]
    image_url: Text
    """A data URL."""
    detail: Text | None = None


Part = Annotated[TextPart | InputImage | AudioPart | RefusalPart, Field(discriminator="type")]


class MessageItem(Body):
    """Something that was said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Text | list[Part]


class CallItem(Body):
    """A function that an earlier answer called."""

    type: Literal["function_call"]
    call_id: Annotated[Text, Field(min_length=1)]
    name: Text
    arguments: Text


class CallOutputItem(Body):
    """What a called function gave."""

    type: Literal["function_call_output"]
    call_id: Annotated[Text, Field(min_length=1)]
    output: Text | list[Annotated[TextPart | InputImage, Field(discriminator="type")]]


class ReasoningItem(Body):
    """What an earlier answer reasoned: templates leave it out of a conversation."""

    type: Literal["reasoning"]


def _kind(item: Any) -> Any:
    if isinstance(item, dict):
        return item.get("type", "message")
    return getattr(item, "type", None)


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class FunctionTool(Body):
    """A function that may be called."""

    type: Literal["function"]
    name: Text
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: Flag | None = None


class NamedFunction(Body):
    """A function by its name."""

    type: Literal["function"]
    name: Text


class AllowedFunctions(Body):
    """Which of the tools may be called this time."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[NamedFunction]


class TextFormat(Body):
    """The shape that the answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    name: Text | None = None
    description: Text | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: Flag | None = None


class TextSettings(Body):
    """How the text is to be."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningSettings(Body):
    """How much to reason before the answer."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Text | None = None


class ResponseAsked(Sampling):
    """What to answer, and how; of the sampling, OpenAI's API has temperature and top_p alone."""

    input: Text | Annotated[list[Item], Field(min_length=1, max_length=MOST_MESSAGES)]
    model: Text | None = None
    instructions: Text | None = None
    max_output_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: (
        Literal["auto", "none", "required"]
        | Annotated[NamedFunction | AllowedFunctions, Field(discriminator="type")]
        | None
    ) = None
    parallel_tool_calls: Flag | None = None
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    include: list[Text] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    metadata: Annotated[dict[str, Text], BeforeValidator(_few)] | None = None
    stream: Flag | None = None
    store: Flag | None = None
    """Whether to keep the response: none is kept, whatever this says."""
    background: Flag | None = None
    previous_response_id: Text | None = None
    truncation: Literal["auto", "disabled"] | None = None
    thinking: Flag | None = None
    """Whether the model first rewrites the prompt: not of OpenAI's API."""
