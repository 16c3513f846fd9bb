"""OpenAI's Chat Completions and Responses, as published.

What comes in is held to the request types of the official SDK 3.52, which are made of OpenAI's own
OpenAPI document; beyond these, to the rules of its guides (reasoning models, structured outputs,
JSON mode, stop texts). Answers, events and errors have the shapes of the API reference
(developers.openai.com/api/reference: chat, responses and their streaming events). An echo answers;
a `Script` says something else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

from blazen.errors import BlazenError
from blazen.testing import EchoModel, EchoOptions
from blazen.types.chat import ChatMessage, ToolCall
from blazen.types.completion import FinishReason
from tests.remote.misbehaving import Request, Wire
from tests.wire.openai_answers import (
    Script,
    chat_answer,
    chat_events,
    response,
    response_events,
    send,
    written,
)
from tests.wire.openai_rules import Refused, check_request

KEY = "sk-a-key-that-nobody-may-see"
CONTEXT = 5_000
"""How many words fit."""

_REASONS = {
    FinishReason.Stop: "stop",
    FinishReason.Length: "length",
    FinishReason.ToolCalls: "tool_calls",
}


class OpenAiWire:
    """The API: it checks what comes in, and answers whole or in events."""

    def __init__(
        self,
        *,
        repeat: int = 1,
        pause: float = 0.0,
        lenient: bool = False,
        usage: bool = True,
    ) -> None:
        self._echo = EchoModel(EchoOptions(repeat=repeat))
        self._once = EchoModel()
        self._pause = pause
        self._lenient = lenient
        """Whether it is a gateway, which has fields of its own."""
        self._usage = usage
        self._numbers = itertools.count(1)
        self.scripts: list[Script] = []
        """What is said next, before the echo has its turn."""
        self.bodies: list[dict[str, Any]] = []
        """What came in."""
        self.headers: list[dict[str, str]] = []

    async def __call__(self, wire: Wire, request: Request) -> None:
        """Answer a request."""
        known_as = f"req_{next(self._numbers):04}"
        try:
            body = self._accepted(request)
            chat = request.path.endswith("/chat/completions")
            if not self._lenient:
                check_request(body, chat=chat)
            self.bodies.append(body)
            self.headers.append(request.headers)
            script = self.scripts.pop(0) if self.scripts else await self._said(body, chat=chat)
        except Refused as refused:
            await wire.answer(refused.body, refused.status, x_request_id=known_as)
            return
        answer = chat_answer if chat else response
        if not body.get("stream"):
            await asyncio.sleep(self._pause * max(1, script.completion_tokens))
            await wire.answer(answer(body, script), x_request_id=known_as)
            return
        events = chat_events if chat else response_events
        head = {"content_type": "text/event-stream; charset=utf-8", "x_request_id": known_as}
        await wire.head(transfer_encoding="chunked", **head)
        for event in events(body, script, usage=self._usage):
            await send(wire, written(event, named=not chat))
            await asyncio.sleep(self._pause)
        if chat:
            await send(wire, b"data: [DONE]\n\n")
        await wire.raw(b"0\r\n\r\n")

    def _accepted(self, request: Request) -> dict[str, Any]:
        keys = (request.headers.get("authorization"), request.headers.get("api-key"))
        if not self._lenient and keys[0] != f"Bearer {KEY}" and keys[1] != KEY:
            raise Refused(
                f"Incorrect API key provided: {keys[0]}.", code="invalid_api_key", status=401
            )
        if request.method != "POST" or not request.path.endswith(("/completions", "/responses")):
            raise Refused(f"Invalid URL ({request.method} {request.path})", status=404)
        body = json.loads(request.body)
        if not isinstance(body, dict):
            raise Refused("We could not parse the JSON body of your request.")
        return body

    async def _said(self, body: dict[str, Any], *, chat: bool) -> Script:
        messages = list(_messages(body) if chat else _input(body))
        words = sum(len(message.text.split()) for message in messages)
        if words > CONTEXT:
            raise Refused(
                f"This model's maximum context length is {CONTEXT} tokens. However, your messages "
                f"resulted in {words} tokens. Please reduce the length of the messages.",
                param="messages",
                code="context_length_exceeded",
            )
        shape = _shape(body, chat=chat)
        shaped = shape is not None and not _calls_wanted(body)
        if shaped:
            messages.append(ChatMessage.user(json.dumps(_instance(shape))))
        echo = self._once if shaped else self._echo
        try:
            answer = await echo.complete(messages, _options(body, chat=chat))
        except BlazenError as error:
            raise Refused(str(error)) from error
        assert answer.usage is not None
        assert answer.finish_reason is not None
        finish = _REASONS[answer.finish_reason]
        if isinstance(body.get("tool_choice"), dict):
            finish = "stop"  # as OpenAI ends a call that was named
        likely = body.get("top_logprobs", 0) if body.get("logprobs") or not chat else None
        return Script(
            answer.content,
            [(call.name, call.arguments) for call in answer.tool_calls],
            finish,
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
            logprobs=likely if chat or "include" in body else None,
        )


# From what came in to what the echo takes.


def _messages(body: dict[str, Any]) -> Iterator[ChatMessage]:
    for message in body["messages"]:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = " ".join(_part(part) for part in content)
        role = "system" if message["role"] == "developer" else message["role"]
        if role == "tool":
            yield ChatMessage.tool(content, tool_call_id=message["tool_call_id"])
        elif role == "assistant":
            calls = [
                ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in message.get("tool_calls", ())
            ]
            yield ChatMessage.assistant(content, tool_calls=calls)
        else:
            yield ChatMessage(role, content)


def _input(body: dict[str, Any]) -> Iterator[ChatMessage]:
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            yield ChatMessage.tool(item["output"], tool_call_id=item["call_id"])
        elif kind == "function_call":
            call = ToolCall(item["call_id"], item["name"], item["arguments"])
            yield ChatMessage.assistant(tool_calls=[call])
        elif kind == "message":
            content = item["content"]
            if isinstance(content, list):
                content = " ".join(_part(part) for part in content)
            role = "system" if item["role"] == "developer" else item["role"]
            yield ChatMessage(role, content)


def _part(part: dict[str, Any]) -> str:
    if part["type"] in ("text", "input_text", "output_text"):
        return str(part["text"])
    if part["type"] == "input_audio":
        return f"[audio {part['input_audio']['format']} {len(part['input_audio']['data'])}]"
    url = part["image_url"]["url"] if part["type"] == "image_url" else part["image_url"]
    return f"[image {url[:21]}]"


def _options(body: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    names = ("max_completion_tokens", "max_tokens") if chat else ("max_output_tokens",)
    limits = [body[name] for name in names if body.get(name) is not None]
    options: dict[str, Any] = {"max_tokens": limits[0]} if limits else {}
    if body.get("stop"):
        options["stop"] = body["stop"]
    tools = [tool["function"] if chat else tool for tool in body.get("tools", ())]
    if tools:
        options["tools"] = [
            {"name": tool["name"], "parameters": tool["parameters"]} for tool in tools
        ]
        choice = body.get("tool_choice", "auto")
        if isinstance(choice, dict):
            choice = choice["function"]["name"] if chat else choice["name"]
        options["tool_choice"] = choice
    return options


def _calls_wanted(body: dict[str, Any]) -> bool:
    return body.get("tool_choice", "auto") not in ("auto", "none")


def _shape(body: dict[str, Any], *, chat: bool) -> Any:
    wanted = body.get("response_format") if chat else (body.get("text") or {}).get("format")
    if not wanted or wanted["type"] == "text":
        return None
    if wanted["type"] == "json_object":
        return {"type": "object", "properties": {"said": {"const": "so"}}}
    return (wanted["json_schema"] if chat else wanted)["schema"]


def _instance(schema: dict[str, Any]) -> Any:
    """Give a value that fits a schema."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: _instance(each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [_instance(schema["items"])] * schema.get("minItems", 0)
    plain = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
    if kind in ("integer", "number"):
        return schema.get("minimum", plain[kind])
    return plain.get(str(kind))
