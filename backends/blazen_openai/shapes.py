"""The shape of an answer and the tools, as each gateway is told them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from blazen.errors import UnsupportedError
from blazen.types.chat import ChatMessage, Role, Tool
from blazen.types.response_format import ResponseFormat
from blazen_openai.gateway import Gateway
from blazen_openai.strict import is_strict, strict_form

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
_TOLD = "Answer with a JSON object."
_ASK_FOR_THE_WORD = ("strict", "loose", "json")


def write_format(gateway: Gateway, wanted: ResponseFormat) -> dict[str, Any]:
    """Give the fields of the chat API that hold an answer to its shape."""
    shape = gateway.shape
    if shape == "grammar":
        from blazen.schema import grammar_of

        return {"grammar": grammar_of(wanted)}
    if wanted.kind == "json":
        if shape == "tgi":
            return {"response_format": {"type": "json", "value": {"type": "object"}}}
        return {"response_format": {"type": "json_object"}}
    if wanted.kind == "schema":
        if shape in ("strict", "loose"):
            return {
                "response_format": {"type": "json_schema", "json_schema": _strict(gateway, wanted)}
            }
        if shape in ("schema", "vllm", "fireworks"):
            told = {"name": _name(wanted), "schema": wanted.rule, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": told}}
        if shape == "tgi":
            return {"response_format": {"type": "json", "value": wanted.rule}}
    elif wanted.kind == "regex" and shape == "vllm":
        return {"structured_outputs": {"regex": wanted.rule}}
    elif wanted.kind == "regex" and shape == "tgi":
        return {"response_format": {"type": "regex", "value": wanted.rule}}
    elif wanted.kind == "grammar" and shape == "fireworks":
        return {"response_format": {"type": "grammar", "grammar": wanted.rule}}
    raise _refusal(gateway, wanted)


def write_text_format(gateway: Gateway, wanted: ResponseFormat) -> dict[str, Any]:
    """Give the format of the Responses API's text."""
    if wanted.kind == "json":
        return {"type": "json_object"}
    if wanted.kind == "schema":
        return {"type": "json_schema", **_strict(gateway, wanted)}
    raise _refusal(gateway, wanted)


def told_of_json(
    gateway: Gateway, messages: Sequence[ChatMessage], wanted: ResponseFormat | None
) -> list[ChatMessage]:
    """Give the messages, with a word about JSON where an API refuses to give any without it."""
    chat = list(messages)
    asks = wanted is not None and wanted.kind == "json" and gateway.shape in _ASK_FOR_THE_WORD
    if not asks or any("json" in message.text.lower() for message in chat):
        return chat
    first = chat[0]
    if first.role is not Role.System:
        return [ChatMessage.system(_TOLD), *chat]
    # Not a second one: some templates know no more than one system message.
    return [ChatMessage.system(f"{first.text}\n\n{_TOLD}"), *chat[1:]]


def check_tools(gateway: Gateway, tools: Sequence[Tool]) -> None:
    """Refuse names of tools that OpenAI does not take."""
    if not gateway.strict_tools:
        return
    for tool in tools:
        if not _TOOL_NAME.fullmatch(tool.name):
            raise UnsupportedError(
                f"the {gateway.name!r} backend takes no tool {tool.name!r}: a name there has at "
                "most 64 letters, digits, '_' and '-'"
            )


def write_function(gateway: Gateway, tool: Tool) -> dict[str, Any]:
    """Give what both APIs say of a tool.

    A field that the caller may leave out keeps its meaning: so only what is strict as it stands is
    held to its schema.
    """
    parameters = tool.parameters or _NO_PARAMETERS
    function: dict[str, Any] = {"name": tool.name, "parameters": parameters}
    if tool.description:
        function["description"] = tool.description
    if gateway.strict_tools:
        function["strict"] = is_strict(parameters)
        if function["strict"]:
            function["parameters"] = strict_form(parameters)
    return function


def _strict(gateway: Gateway, wanted: ResponseFormat) -> dict[str, Any]:
    assert isinstance(wanted.rule, dict)
    strict = strict_form(wanted.rule) if gateway.shape == "strict" else None
    return {
        "name": _name(wanted),
        "schema": wanted.rule if strict is None else strict,
        "strict": strict is not None,
    }


def _name(wanted: ResponseFormat) -> str:
    name = getattr(wanted.type, "__name__", "answer")
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "answer"


def _refusal(gateway: Gateway, wanted: ResponseFormat) -> UnsupportedError:
    return UnsupportedError(
        f"the {gateway.name!r} backend takes no 'response_format' of the kind {wanted.kind!r}: "
        f"{gateway.title} can't be held to it"
    )
