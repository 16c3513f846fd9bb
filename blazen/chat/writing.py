"""Messages and tools as the dictionaries that chat templates read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Role, Tool, ToolCall
from blazen.types.image import Image


class Habits(NamedTuple):
    """In which of the possible forms a template wants what it is given."""

    system: bool = True
    parts: bool = False
    """Content as a list of typed parts, also where it is one text."""
    objects: bool = True
    """The arguments of calls as objects, not as JSON texts."""
    short_ids: bool = False
    """Mistral: ids of calls have exactly nine letters and digits."""
    null: bool = False
    """No content in a message that only calls; an empty text would be an answer of its own."""
    tools_in_system: bool = False
    """Phi: tools stand in the system message, as a JSON text."""


def write_tool(tool: Tool) -> dict[str, Any]:
    """Write a tool as templates read it."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
        },
    }


def write_messages(
    messages: Iterable[ChatMessage], habits: Habits, media_mark: str = ""
) -> list[dict[str, Any]]:
    """Write messages as a template of these habits reads them."""
    names: dict[str, str] = {}
    written: list[dict[str, Any]] = []
    system: list[str] = []
    for message in messages:
        text = _text(message, media_mark)
        if message.role is Role.System and not habits.system:
            system.append(text)
            continue
        if system and message.role is Role.User:
            text = "\n\n".join([*system, text])
            system = []
        entry: dict[str, Any] = {
            "role": message.role.value,
            "content": [{"type": "text", "text": text}] if habits.parts else text,
        }
        if message.name:
            entry["name"] = message.name
        if message.tool_calls:
            names.update((call.id, call.name) for call in message.tool_calls)
            if habits.null and not text:
                entry["content"] = None
            entry["tool_calls"] = [_write_call(call, habits) for call in message.tool_calls]
        if message.role is Role.Tool:
            known = names.get(message.tool_call_id or "")
            if known:
                entry["name"] = known  # some templates tell the answers apart by it
            entry["tool_call_id"] = _id(message.tool_call_id or "", habits)
        written.append(entry)
    if system:
        raise UnsupportedError(
            "this model's template takes no system message, and there is no user's message after "
            "it to join: add one"
        )
    return written


def media_of(messages: Sequence[ChatMessage]) -> tuple[Image | Audio, ...]:
    """Give the images and audio of all messages, in their order."""
    return tuple(
        part for message in messages for part in message.parts if not isinstance(part, str)
    )


def _text(message: ChatMessage, media_mark: str) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part if isinstance(part, str) else media_mark for part in message.content)


def _write_call(call: ToolCall, habits: Habits) -> dict[str, Any]:
    arguments: Any = call.arguments or "{}"
    if habits.objects:
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise ValidationError(
                f"the call of {call.name!r} among the messages has arguments that are no JSON, and "
                f"this model's template wants them read: {call.arguments!r:.80}"
            ) from error
    return {
        "type": "function",
        "id": _id(call.id, habits),
        "function": {"name": call.name, "arguments": arguments},
    }


def _id(given: str, habits: Habits) -> str:
    if not habits.short_ids or (len(given) == 9 and given.isalnum()):
        return given
    return hashlib.blake2b(given.encode(), digest_size=8).hexdigest()[:9]
