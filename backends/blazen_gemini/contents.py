"""From messages to the API's contents, and to its system instruction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Part, Role, ToolCall
from blazen.types.image import Image
from blazen.types.record import parse_json
from blazen_gemini.abilities import Abilities

STATE = "gemini"
"""Under which name `ChatMessage.state` holds the parts of an answer as the API gave them."""

_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
_SOUNDS = ("audio/wav", "audio/mpeg", "audio/mp3", "audio/flac", "audio/ogg", "audio/aac")
_KEPT_BY_GOOGLE = (
    "https://generativelanguage.googleapis.com/",
    "https://www.youtube.com/",
    "gs://",
)

# What the documentation gives for calls that another model made, and that nobody signed.
_UNSIGNED = "skip_thought_signature_validator"


class Contents(NamedTuple):
    """What is said, as the API takes it."""

    contents: list[dict[str, Any]]
    system: str | None


@dataclass(frozen=True)
class _Asked:
    """A call that a tool's message answers."""

    name: str
    id: str | None
    """The call's own id at the API, which the API need not have given."""
    place: int


def write_contents(chat: Sequence[ChatMessage], abilities: Abilities) -> Contents:
    """Give the contents of a conversation; images and sounds are read here."""
    system = [_system(message) for message in chat if message.role is Role.System]
    contents: list[dict[str, Any]] = []
    asked: dict[str, _Asked] = {}
    for said in _turns(chat):
        role = said[0].role
        if role is Role.Tool:
            contents.append({"role": "user", "parts": _answers(said, asked)})
            continue
        message = said[0]
        if message.name is not None:
            raise UnsupportedError("the API has no place for a message's name: say it in the text")
        if role is Role.User:
            contents.append({"role": "user", "parts": [_part(part) for part in message.parts]})
            continue
        parts = kept_parts(message)
        if parts is None:
            parts = _model_parts(message, abilities)
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        for place, (call, sent) in enumerate(zip(message.tool_calls, calls, strict=True)):
            asked[call.id] = _Asked(call.name, sent.get("id"), place)
        if parts:  # an answer of which nothing is left says nothing
            contents.append({"role": "model", "parts": parts})
    if not contents:
        raise ValidationError("the messages say nothing but how to behave: add a user's message")
    if contents[-1]["role"] == "model" and not abilities.ends_with_model:
        raise UnsupportedError(
            "this model does not go on with an assistant's message: end with a user's"
        )
    return Contents(contents, "\n\n".join(system) or None)


def kept_parts(message: ChatMessage) -> list[dict[str, Any]] | None:
    """Give the parts that the API gave, unless the message says something else by now."""
    kept = (message.state or {}).get(STATE)
    if not isinstance(kept, list) or not all(isinstance(part, dict) for part in kept):
        return None
    text = "".join(part.get("text", "") for part in kept if not part.get("thought"))
    calls = [part["functionCall"] for part in kept if "functionCall" in part]
    same = len(calls) == len(message.tool_calls) and all(
        call.name == sent.get("name") and _arguments(call) == (sent.get("args") or {})
        for call, sent in zip(message.tool_calls, calls, strict=True)
    )
    return [dict(part) for part in kept] if same and text == message.text else None


def has_media(chat: Sequence[ChatMessage]) -> bool:
    """Say whether there are images or sounds to be read."""
    return any(not isinstance(part, str) for message in chat for part in message.parts)


def _turns(chat: Sequence[ChatMessage]) -> Iterator[list[ChatMessage]]:
    """Give the messages one by one, but the answers of tools that stand together as one."""
    answers: list[ChatMessage] = []
    for message in chat:
        if message.role is Role.Tool:
            answers.append(message)
            continue
        if message.role is Role.System:
            continue
        if answers:
            yield answers
            answers = []
        yield [message]
    if answers:
        yield answers


def _system(message: ChatMessage) -> str:
    if not all(isinstance(part, str) for part in message.parts):
        raise UnsupportedError("the API takes only text in a system's message")
    return message.text


def _model_parts(message: ChatMessage, abilities: Abilities) -> list[dict[str, Any]]:
    parts = [_part(part) for part in message.parts if part != ""]
    for number, call in enumerate(message.tool_calls):
        sent: dict[str, Any] = {"name": call.name, "args": _arguments(call), "id": call.id}
        part: dict[str, Any] = {"functionCall": sent}
        if abilities.signs and number == 0:
            part["thoughtSignature"] = _UNSIGNED
        parts.append(part)
    return parts


def _arguments(call: ToolCall) -> dict[str, Any]:
    return call.parsed() if call.arguments.strip() else {}


def _answers(said: list[ChatMessage], asked: dict[str, _Asked]) -> list[dict[str, Any]]:
    """Give what tools answered, in the order of the calls."""
    found: list[tuple[int, dict[str, Any]]] = []
    for message in said:
        call = asked.get(str(message.tool_call_id))
        if call is None:
            raise ValidationError(
                f"a tool's message answers the call {message.tool_call_id!r:.80}, which no "
                "assistant's message before it makes"
            )
        answer: dict[str, Any] = {"name": call.name, "response": _response(message.text)}
        if call.id is not None:
            answer["id"] = call.id
        shown = [_part(part) for part in message.parts if not isinstance(part, str)]
        if shown:
            answer["parts"] = shown
        found.append((call.place, {"functionResponse": answer}))
    return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]


def _response(text: str) -> dict[str, Any]:
    """Give a tool's answer as the object that the API wants."""
    try:
        value = parse_json(text)
    except ValidationError:
        return {"output": text}
    return value if isinstance(value, dict) else {"output": value}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if part.url is not None and part.url.startswith(_KEPT_BY_GOOGLE):
        return {"fileData": {"fileUri": part.url}}
    media_type, data = _image(part) if isinstance(part, Image) else _sound(part)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _image(image: Image) -> tuple[str, bytes]:
    if image.media_type in _IMAGES:
        return image.media_type, image.to_bytes()
    return "image/png", image.to_bytes("png")


def _sound(sound: Audio) -> tuple[str, bytes]:
    media_type = sound.media_type
    if media_type in _SOUNDS:
        return media_type, sound.to_bytes()
    return "audio/wav", sound.to_bytes("wav")
