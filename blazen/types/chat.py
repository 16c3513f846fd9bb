"""Messages, tools and tool calls: what a conversation is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from blazen.checks import check_choice, check_range
from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.image import Image
from blazen.types.record import Record, parse_json

Part: TypeAlias = str | Image | Audio
"""One part of a message's content: a text is a part, and so is an image or an audio."""


_TOOL_NAME = re.compile(r"[\w.:/-]{1,256}")


class Role(str, Enum):
    """Who speaks."""

    System = "system"
    User = "user"
    Assistant = "assistant"
    Tool = "tool"


@dataclass(frozen=True)
class Tool(Record):
    """A function that the model may ask for."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    """The JSON schema of its arguments."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _TOOL_NAME.fullmatch(self.name):
            raise ValidationError(
                "a tool needs a name of at most 256 letters, digits and any of '_.:/-', not "
                f"{self.name!r:.80}"
            )
        if not isinstance(self.description, str):
            raise ValidationError(f"a tool's description is a text, not {self.description!r:.80}")
        schema = self.parameters
        if schema is not None and (
            not isinstance(schema, dict) or schema.get("type", "object") != "object"
        ):
            raise ValidationError(
                f"a tool's parameters are a JSON schema of an object, not {self.parameters!r:.80}"
            )

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Tool:
        """Describe a function: its name, its docstring, and its parameters by their annotations."""
        from blazen.schema import tool_schema
        from blazen.schema.signature import inner

        name = getattr(inner(function), "__name__", "")
        if not name.isidentifier():
            raise ValidationError(f"{function!r:.80} has no name to be called by: write a Tool")
        description, parameters = tool_schema(function)
        return cls(name, description, parameters)


@dataclass(frozen=True)
class ToolCall(Record):
    """The model asks for a function to be called."""

    id: str
    name: str
    arguments: str
    """The arguments as the model wrote them: JSON text, possibly cut short."""

    def parsed(self, function: Callable[..., Any] | None = None) -> dict[str, Any]:
        """Give the arguments as a dictionary; text that is no JSON object is an error.

        With the function that the tool was made of, each has the type that the function names:
        ``function(**call.parsed(function))``.
        """
        try:
            arguments = parse_json(self.arguments)
        except ValidationError as error:
            raise ValidationError(f"the arguments of {self.name!r}: {error}") from error
        if not isinstance(arguments, dict):
            raise ValidationError(
                f"the arguments of {self.name!r} are no object: {arguments!r:.80}"
            )
        if function is None:
            return arguments
        from blazen.schema import read_arguments

        return read_arguments(function, arguments)


@dataclass(frozen=True)
class ChatMessage(Record):
    """One message of a conversation."""

    role: Role
    content: str | list[Part] = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    state: dict[str, Any] | None = field(default=None, repr=False)
    """What a provider wants back with this message as it gave it, by the provider's name.

    The signatures of its thinking, for instance. Other providers and local engines leave it out.
    """

    def __post_init__(self) -> None:
        check_choice("a message's role", self.role, [role.value for role in Role])
        object.__setattr__(self, "role", Role(self.role))
        if not isinstance(self.content, (str, list)):
            raise ValidationError(
                f"a message's content is a text or a list of parts, not {self.content!r:.80}"
            )
        for part in self.parts:
            if not isinstance(part, (str, Image, Audio)):
                raise ValidationError(
                    f"a part of a message is a text, an Image or an Audio, not {part!r:.80}"
                )
        if self.state is not None and not isinstance(self.state, dict):
            raise ValidationError(f"a message's state is a dictionary, not {self.state!r:.80}")
        if self.role is Role.Tool and not self.tool_call_id:
            raise ValidationError("a tool's message needs the tool_call_id that it answers")

    @classmethod
    def system(cls, text: str) -> ChatMessage:
        """Say how the model should behave."""
        return cls(Role.System, text)

    @classmethod
    def user(cls, *content: Any) -> ChatMessage:
        """Say something, or show something.

        Each argument is a text, an `Image`, an `Audio`, or what plainly is one: a PIL image, a
        NumPy array of pixels. A text stays a text: a file is shown with ``Image.from_file(path)``.
        """
        return cls(Role.User, _content(content))

    @classmethod
    def assistant(
        cls,
        text: str = "",
        *,
        tool_calls: Iterable[ToolCall] = (),
        state: dict[str, Any] | None = None,
    ) -> ChatMessage:
        """Repeat what the model said; `ModelResponse.message` is that of a whole answer."""
        return cls(Role.Assistant, text, tool_calls=tuple(tool_calls), state=state)

    @classmethod
    def tool(cls, text: str, *, tool_call_id: str) -> ChatMessage:
        """Give a tool's answer."""
        return cls(Role.Tool, text, tool_call_id=tool_call_id)

    @property
    def parts(self) -> list[Part]:
        """The content as a list of parts."""
        return [self.content] if isinstance(self.content, str) else list(self.content)

    @property
    def text(self) -> str:
        """The text of all parts, without images and audio."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True)
class Prompt(Record):
    """Text for a model to go on with as it stands: no template, no roles.

    What a base model takes instead of messages, and an instruction-tuned one too: then the text
    holds the marks of its template. Token ids are taken as well.
    """

    text: str | list[int]

    def __post_init__(self) -> None:
        tokens = self.text
        if isinstance(tokens, str):
            return
        if not isinstance(tokens, list) or not tokens:
            raise ValidationError(f"a prompt is a text or a list of token ids, not {tokens!r:.80}")
        for token in tokens:
            check_range("a token of a prompt", token, at_least=0, integer=True)
            if token is None:
                raise ValidationError("a prompt's tokens are numbers, not None")


Messages: TypeAlias = str | Prompt | Sequence[ChatMessage | Mapping[str, Any]]
"""What a chat model takes: messages, or a single text, which is a user's message; or a `Prompt`."""


def as_messages(messages: Messages) -> list[ChatMessage]:
    """Give a checked list of messages."""
    if isinstance(messages, str):
        return [ChatMessage.user(messages)]
    if isinstance(messages, Prompt):
        raise UnsupportedError("this model takes messages and no bare Prompt: give it messages")
    if not isinstance(messages, Sequence):
        raise ValidationError(f"messages must be a text or a list, not {messages!r:.80}")
    if not messages:
        raise ValidationError("messages must not be empty: give at least one")
    return [_message(message) for message in messages]


def _message(message: Any) -> ChatMessage:
    if isinstance(message, ChatMessage):
        return message
    if isinstance(message, Mapping):
        return ChatMessage.from_dict(message)
    raise ValidationError(f"a message is a ChatMessage or a dictionary, not {message!r:.80}")


def _content(content: tuple[Any, ...]) -> str | list[Part]:
    if not content:
        raise ValidationError("a user's message needs content")
    if len(content) == 1 and isinstance(content[0], str):
        return content[0]
    return [_part(part) for part in content]


def _part(part: Any) -> Part:
    if isinstance(part, (str, Image, Audio)):
        return part
    return Image.of(part)
