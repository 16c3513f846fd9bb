"""What all chat routes read alike: messages and tools, as OpenAI's API writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from blazen.server.fields import Body, Flag, JsonObject, Text
from blazen.server.images import read_audio, read_image
from blazen.server.refusals import RefusedError
from blazen.server.schemas import check_schema
from blazen.types.chat import ChatMessage, Part, Role, Tool, ToolCall

if TYPE_CHECKING:
    from blazen.server.settings import ServerSettings


MOST_MESSAGES = 10_000
"""Of one conversation: an engine reads the marks between them in the square of their number."""


class TextPart(Body):
    """A text, as a part of a message."""

    type: Literal["text", "input_text", "output_text"]
    text: Text


class ImageUrl(Body):
    """Where a picture is: in a data URL."""

    url: Text
    detail: Text | None = None


class ImagePart(Body):
    """A picture, as a part of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl | Text


class Sound(Body):
    """A sound in base64."""

    data: Text
    format: Text | None = None


class AudioPart(Body):
    """A sound, as a part of a message."""

    type: Literal["input_audio"]
    input_audio: Sound


class RefusalPart(Body):
    """What a model said instead of an answer."""

    type: Literal["refusal"]
    refusal: Text


ContentPart = Annotated[TextPart | ImagePart | AudioPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(Body):
    """Which function a message calls, and with what."""

    name: Text
    arguments: Text | JsonObject = ""


class Call(Body):
    """A tool call of an earlier answer."""

    id: Text | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Body):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[ContentPart] | None = None
    name: Text | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: Text | None = None


class Function(Body):
    """A function that may be called."""

    name: Text
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: Flag | None = None


class ToolBody(Body):
    """A tool: a function of the caller's."""

    type: Literal["function"]
    function: Function


class FunctionName(Body):
    """A function by its name."""

    name: Text


class NamedChoice(Body):
    """The one function that must be called."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(Body):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[NamedChoice]


class AllowedChoice(Body):
    """Which of the tools may be called this time."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = (
    Literal["auto", "none", "required"]
    | Annotated[NamedChoice | AllowedChoice, Field(discriminator="type")]
)


async def read_messages(messages: Sequence[Message], settings: ServerSettings) -> list[ChatMessage]:
    """Give the messages of a conversation, their pictures and sounds within the limits."""
    if not messages:
        raise RefusedError("messages must not be empty: send at least one", param="messages")
    return [
        await _read_message(message, f"messages[{index}]", settings)
        for index, message in enumerate(messages)
    ]


async def _read_message(message: Message, where: str, settings: ServerSettings) -> ChatMessage:
    role = Role.System if message.role == "developer" else Role(message.role)
    if message.content is None and role is not Role.Assistant:
        raise RefusedError(f"{where} has no content", param=f"{where}.content")
    if role is Role.Tool and not message.tool_call_id:
        raise RefusedError(
            f"{where} answers a tool call: it needs the call's id as 'tool_call_id'",
            param=f"{where}.tool_call_id",
        )
    return ChatMessage(
        role,
        await _read_content(message.content or "", where, settings),
        name=message.name,
        tool_calls=tuple(_read_call(call) for call in message.tool_calls or ()),
        tool_call_id=message.tool_call_id,
    )


async def _read_content(
    content: str | list[Any], where: str, settings: ServerSettings
) -> str | list[Part]:
    if isinstance(content, str):
        return content
    parts: list[Part] = []
    for part in content:
        if isinstance(part, TextPart):
            parts.append(part.text)
        elif isinstance(part, RefusalPart):
            parts.append(part.refusal)
        elif isinstance(part, ImagePart):
            url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
            parts.append(await read_image(url, settings))
        else:
            parts.append(await read_audio(part.input_audio.data, settings))
    if all(isinstance(part, str) for part in parts):
        return "\n".join(part for part in parts if isinstance(part, str))
    return parts


def _read_call(call: Call) -> ToolCall:
    arguments = call.function.arguments
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(call.id or "", call.function.name, text)


def read_tools(tools: Sequence[ToolBody] | None) -> tuple[Tool, ...]:
    """Give the functions that may be called."""
    check_schema([tool.function.parameters for tool in tools or ()], "tools")
    return tuple(
        Tool(tool.function.name, tool.function.description or "", tool.function.parameters)
        for tool in tools or ()
    )


def read_choice(choice: Any, tools: tuple[Tool, ...]) -> tuple[str, tuple[Tool, ...]]:
    """Give which tools must or may be called, and which of them the model is shown."""
    if choice is None:
        return "auto", tools
    if isinstance(choice, AllowedChoice):
        names = dict.fromkeys(allowed.function.name for allowed in choice.allowed_tools.tools)
        shown = tuple(tool for tool in tools if tool.name in names)
        return _checked(choice.allowed_tools.mode, shown, names, tools)
    if isinstance(choice, NamedChoice):
        return _checked(choice.function.name, tools, (choice.function.name,), tools)
    return _checked(choice, tools, (), tools)


def _checked(
    choice: str, shown: tuple[Tool, ...], names: Iterable[str], tools: tuple[Tool, ...]
) -> tuple[str, tuple[Tool, ...]]:
    known = {tool.name for tool in tools}
    absent = [name for name in names if name not in known]
    if absent:
        raise RefusedError(
            f"tool_choice names {absent[0]!r:.80}, which is not among the tools",
            param="tool_choice",
        )
    if choice == "required" and not shown:
        raise RefusedError("tool_choice is 'required' without any tools", param="tool_choice")
    return choice, shown
