"""From a conversation to the messages of Anthropic's API, and back to what it wants again."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Part, Role
from blazen.types.image import Image
from blazen_anthropic.models import Abilities

STATE = "anthropic"
"""Where a message keeps the blocks that the API wants back as it gave them."""

_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def check_messages(messages: Sequence[ChatMessage], model: str, can: Abilities) -> None:
    """Refuse what the API, or this model, has no place for; nothing is read for it."""
    begun = _beginning(messages)
    if begun == len(messages):
        raise ValidationError("there are only system's messages: add one of the user")
    for message in messages:
        for part in message.parts:
            if isinstance(part, Audio):
                raise UnsupportedError(
                    "the 'anthropic' backend takes no audio in messages: transcribe it first"
                )
            if isinstance(part, Image) and message.role in (Role.System, Role.Assistant):
                raise UnsupportedError(
                    f"the 'anthropic' backend takes no images in a message of the "
                    f"{message.role.value}: show them in the user's"
                )
        if message.name is not None and message.role is not Role.Tool:
            raise UnsupportedError(
                "the 'anthropic' backend takes no 'name' in messages: say it in the text"
            )
        for call in message.tool_calls:
            call.parsed()  # one that was cut can't be repeated
    if not can.refuses:
        return
    if not can.told_inside and any(m.role is Role.System for m in messages[begun:]):
        raise UnsupportedError(
            f"{model} takes system's messages at the beginning only: put them there, or say it in "
            "the user's"
        )
    if messages[-1].role is Role.Assistant and not can.goes_on and not _is_paused(messages[-1]):
        raise UnsupportedError(
            f"{model} does not go on with an answer that was begun: end with the user's message"
        )


def write_messages(
    messages: Sequence[ChatMessage],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the system's texts, and the messages. Files are read, and URLs that the API can't."""
    begun = _beginning(messages)
    system = [_text(message.text) for message in messages[:begun] if message.text]
    written: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for message in messages[begun:]:
        if message.role is Role.Tool:
            # All answers to one message stand in one message.
            if results is None:
                results = []
                written.append({"role": "user", "content": results})
            results.append(_result(message))
            continue
        results = None
        written.append({"role": message.role.value, "content": _content(message)})
    return system, written


def _beginning(messages: Sequence[ChatMessage]) -> int:
    for number, message in enumerate(messages):
        if message.role is not Role.System:
            return number
    return len(messages)


def _content(message: ChatMessage) -> str | list[dict[str, Any]]:
    kept = _kept(message)
    if kept is not None:
        return kept
    if not message.tool_calls and isinstance(message.content, str):
        return message.content
    # The API refuses an empty text, and a message of calls has often nothing else to say.
    blocks = [_part(part) for part in message.parts if part != ""]
    return [
        *blocks,
        *(
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.parsed()}
            for call in message.tool_calls
        ),
    ]


def _kept(message: ChatMessage) -> list[dict[str, Any]] | None:
    """Give the blocks as the API gave them, unless the message was changed since."""
    blocks = (message.state or {}).get(STATE)
    if message.role is not Role.Assistant or not isinstance(blocks, list):
        return None
    said = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
    calls = {call.id: call for call in message.tool_calls}
    asked = [block["id"] for block in blocks if block.get("type") == "tool_use"]
    if said != message.text or asked != [call.id for call in message.tool_calls]:
        return None
    return [
        {**block, "name": calls[block["id"]].name, "input": calls[block["id"]].parsed()}
        if block.get("type") == "tool_use"
        else block
        for block in blocks
    ]


def _is_paused(message: ChatMessage) -> bool:
    """Say whether the API itself broke off here, and goes on when it gets this back."""
    blocks = (message.state or {}).get(STATE)
    last = blocks[-1] if isinstance(blocks, list) and blocks else {}
    return str(last.get("type", "")).startswith("server_tool_use")


def _result(message: ChatMessage) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    if isinstance(message.content, list):
        result["content"] = [_part(part) for part in message.parts if part != ""]
    elif message.content:
        result["content"] = message.content
    return result


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return _text(part)
    assert isinstance(part, Image), "a sound was refused before"
    return {"type": "image", "source": _picture(part)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _picture(image: Image) -> dict[str, Any]:
    if image.url is not None and image.url.lower().startswith("https://"):
        return {"type": "url", "url": image.url}
    known = image.media_type in _PICTURES
    data = image.to_bytes() if known else image.to_bytes("png")
    return {
        "type": "base64",
        "media_type": image.media_type if known else "image/png",
        "data": base64.b64encode(data).decode("ascii"),
    }
