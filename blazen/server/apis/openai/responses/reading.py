"""From the items of a request to messages and options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from blazen.server.apis.openai.responses.asked import (
    AllowedFunctions,
    CallItem,
    CallOutputItem,
    InputImage,
    MessageItem,
    NamedFunction,
    ReasoningItem,
    ResponseAsked,
)
from blazen.server.failures import Refusal
from blazen.server.images import read_audio, read_image
from blazen.server.reading import AudioPart, RefusalPart, TextPart
from blazen.server.schemas import check_schema
from blazen.server.settings import ServerSettings
from blazen.types.chat import ChatMessage, Role, Tool, ToolCall
from blazen.types.chat import Part as MessagePart
from blazen.types.completion import CompletionOptions
from blazen.types.response_format import ResponseFormat

_KEPT = "this server keeps no responses: send the whole conversation as 'input'"
_REFUSED = {
    "previous_response_id": _KEPT,
    "conversation": _KEPT,
    "background": "an answer is given to the request that asks for it; leave it out",
    "prompt": "this server keeps no prompts: send 'input' and 'instructions'",
    "max_tool_calls": "the tools here are functions of yours, which you call yourself",
    "context_management": "nothing is left out of a conversation but by its client",
    "moderation": "no model here judges what is said",
}
_LOGPROBS = "message.output_text.logprobs"
_PASSED_OVER = ("reasoning.encrypted_content", _LOGPROBS)


def check(body: ResponseAsked) -> None:
    """Refuse by its name what the API has and this server can't do."""
    extra = body.model_extra or {}
    for name, reason in _REFUSED.items():
        value = getattr(body, name, None) if name in type(body).model_fields else extra.get(name)
        if value not in (None, False, "", [], {}):
            raise _refusal(name, reason)
    if body.truncation == "auto":
        raise _refusal("truncation", "a conversation that is too long is an error; say 'disabled'")
    for name in body.include or ():
        if name not in _PASSED_OVER:
            raise _refusal("include", f"there is no {name!r:.80} in the answers of this server")
    if body.text is not None and body.text.verbosity in ("low", "high"):
        raise _refusal("text.verbosity", "say in the instructions how much is to be written")


def options_of(body: ResponseAsked) -> CompletionOptions:
    """Give how the model is to answer."""
    settings = body.settings()
    if body.max_output_tokens is not None:
        settings["max_tokens"] = body.max_output_tokens
    choice, tools = _tools(body)
    effort = None if body.reasoning is None else body.reasoning.effort
    logprobs = body.top_logprobs
    if logprobs is None and _LOGPROBS in (body.include or ()):
        logprobs = 0
    return CompletionOptions(
        **settings,
        logprobs=logprobs,
        response_format=_format(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        reasoning=None if effort is None else effort != "none",
    )


async def messages_of(body: ResponseAsked, settings: ServerSettings) -> list[ChatMessage]:
    """Give the conversation; calls that follow one another are of one message."""
    messages: list[ChatMessage] = []
    if body.instructions:
        messages.append(ChatMessage.system(body.instructions))
    if isinstance(body.input, str):
        return [*messages, ChatMessage.user(body.input)]
    for index, item in enumerate(body.input):
        if isinstance(item, MessageItem):
            role = Role.System if item.role == "developer" else Role(item.role)
            where = f"input[{index}].content"
            messages.append(ChatMessage(role, await _content(item.content, where, settings)))
        elif isinstance(item, CallItem):
            call = ToolCall(item.call_id, item.name, item.arguments)
            if not messages or messages[-1].role is not Role.Assistant:
                messages.append(ChatMessage.assistant())
            before = messages[-1]
            messages[-1] = replace(before, tool_calls=(*before.tool_calls, call))
        elif isinstance(item, CallOutputItem):
            content = await _content(item.output, f"input[{index}].output", settings)
            messages.append(ChatMessage(Role.Tool, content, tool_call_id=item.call_id))
        else:
            assert isinstance(item, ReasoningItem), "a template has no place for it"
    if not any(message.role is not Role.System for message in messages):
        raise Refusal(400, "the input has no message to answer: send one", param="input")
    return messages


async def _content(
    content: str | list[Any], where: str, settings: ServerSettings
) -> str | list[MessagePart]:
    if isinstance(content, str):
        return content
    parts: list[MessagePart] = []
    for part in content:
        if isinstance(part, TextPart):
            parts.append(part.text)
        elif isinstance(part, RefusalPart):
            parts.append(part.refusal)
        elif isinstance(part, InputImage):
            parts.append(await read_image(part.image_url, settings))
        else:
            assert isinstance(part, AudioPart)
            parts.append(await read_audio(part.input_audio.data, settings))
    if not parts:
        raise Refusal(400, f"{where} is empty", param=where)
    texts = [part for part in parts if isinstance(part, str)]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def _tools(body: ResponseAsked) -> tuple[str, tuple[Tool, ...]]:
    tools = tuple(
        Tool(tool.name, tool.description or "", tool.parameters) for tool in body.tools or ()
    )
    choice = body.tool_choice
    if isinstance(choice, NamedFunction):
        _check_known([choice.name], tools)
        return choice.name, tools
    if isinstance(choice, AllowedFunctions):
        names = [tool.name for tool in choice.tools]
        _check_known(names, tools)
        tools = tuple(tool for tool in tools if tool.name in names)
        choice = choice.mode
    if choice == "required" and not tools:
        raise Refusal(400, "tool_choice is 'required' without any tools", param="tool_choice")
    return choice or "auto", tools


def _check_known(names: list[str], tools: tuple[Tool, ...]) -> None:
    known = {tool.name for tool in tools}
    for name in names:
        if name not in known:
            raise Refusal(
                400,
                f"tool_choice names {name!r:.80}, which is not among the tools",
                param="tool_choice",
            )


def _format(body: ResponseAsked) -> ResponseFormat | None:
    wanted = None if body.text is None else body.text.format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ResponseFormat.json()
    if wanted.schema_ is None:
        raise Refusal(
            400, "a format of type 'json_schema' needs the schema, as 'schema'", param="text.format"
        )
    check_schema(wanted.schema_, "text.format.schema")
    return ResponseFormat.schema(wanted.schema_)


def _refusal(name: str, reason: str) -> Refusal:
    return Refusal(
        400, f"{name!r} is not supported: {reason}", param=name, code="unsupported_parameter"
    )
