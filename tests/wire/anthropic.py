"""A server that speaks Anthropic's Messages API, as its documentation writes it down.

Events, usage and errors have the shapes of platform.claude.com/docs: "Create a Message",
"Streaming messages", "Errors", "Stop reasons and fallback". What is said is an echo of what was
asked, so that the conformance suites hold; `Script` says something else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blazen.testing import EchoModel, EchoOptions
from blazen.types.chat import ChatMessage, ToolCall
from tests.remote.misbehaving import Request, Wire
from tests.wire.anthropic_rules import Refused, blocks, check_request, signature

KEY = "sk-ant-a-key-that-nobody-may-see"
CONTEXT = 5_000
"""How many words fit."""


@dataclass
class Script:
    """What the model says, in place of an echo: content blocks as the API gives them."""

    content: list[dict[str, Any]]
    stop_reason: str = "end_turn"
    cut: bool = False
    """Whether ``max_tokens`` cut the input of the last call."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further fields of the message."""
    usage: dict[str, Any] = field(default_factory=dict)


class AnthropicWire:
    """The API: it checks what comes in, and answers whole or in events."""

    def __init__(self, *, repeat: int = 1, pause: float = 0.0, thinks: bool = False) -> None:
        self._echo = EchoModel(EchoOptions(repeat=repeat))
        self._once = EchoModel()
        self._pause = pause
        self._thinks = thinks
        self._numbers = itertools.count(1)
        self.scripts: list[Script] = []
        """What is said next, before the echo has its turn."""
        self.bodies: list[dict[str, Any]] = []
        """What came in."""

    async def __call__(self, wire: Wire, request: Request) -> None:
        """Answer a request."""
        known_as = f"req_{next(self._numbers):04}"
        try:
            body = _accepted(request)
            self.bodies.append(body)
            script = self.scripts.pop(0) if self.scripts else await self._answer(body)
        except Refused as refusal:
            error = {"type": refusal.kind, "message": str(refusal)}
            said = {"type": "error", "error": error, "request_id": known_as}
            await wire.answer(said, refusal.status, request_id=known_as)
            return
        message = _message(body, script, next(self._numbers))
        if not body.get("stream"):
            await asyncio.sleep(self._pause * message["usage"]["output_tokens"])
            await wire.answer(message, request_id=known_as)
            return
        await wire.head(content_type="text/event-stream; charset=utf-8", request_id=known_as)
        for event in stream_events(message, cut=script.cut):
            await wire.raw(written(event))
            if event["type"] == "content_block_delta":
                await asyncio.sleep(self._pause)
        wire.close()

    async def _answer(self, body: dict[str, Any]) -> Script:
        chat = [said for message in body["messages"] for said in _chat(message)]
        words = sum(len(message.text.split()) for message in chat)
        if words > CONTEXT:
            raise Refused(f"prompt is too long: {words} tokens > {CONTEXT} maximum")
        shape = body.get("output_config", {}).get("format")
        if shape is not None:
            chat.append(ChatMessage.user(json.dumps(_instance(shape["schema"]))))
        echo = self._echo if shape is None else self._once
        answer = await echo.complete(chat, _options(body))
        content: list[dict[str, Any]] = []
        if answer.content:
            content.append({"type": "text", "text": answer.content})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.parsed()}
            for call in answer.tool_calls
        ]
        if self._thinks and body.get("thinking", {}).get("type") in ("adaptive", "enabled"):
            thought = "Let me think."
            content.insert(
                0, {"type": "thinking", "thinking": thought, "signature": signature(thought)}
            )
        assert answer.usage is not None
        reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
        reason = reasons[str(answer.finish_reason.value)] if answer.finish_reason else ""
        whole = chat[-1].text
        stops = body.get("stop_sequences", ())
        hit = next((stop for stop in stops if stop in whole and reason == "end_turn"), None)
        return Script(
            content,
            "stop_sequence" if hit else reason,
            more={"stop_sequence": hit} if hit else {},
            usage={
                "input_tokens": answer.usage.prompt_tokens,
                "output_tokens": max(1, answer.usage.completion_tokens),
            },
        )


def stream_events(message: dict[str, Any], *, cut: bool = False) -> Iterator[dict[str, Any]]:
    """Give the events of a message, in the order and shape of the documentation."""
    usage = message["usage"]
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        last = index == len(message["content"]) - 1
        yield {"type": "content_block_start", "index": index, "content_block": _begun(block)}
        for delta in _deltas(block, cut=cut and last):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {key: message.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    # Counted from the beginning of the message, and not since the last event.
    yield {"type": "message_delta", "delta": ended, "usage": usage}
    yield {"type": "message_stop"}


def written(event: dict[str, Any]) -> bytes:
    """Give an event as it goes over the wire."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _accepted(request: Request) -> dict[str, Any]:
    if request.headers.get("x-api-key") != KEY:
        raise Refused("invalid x-api-key", 401, "authentication_error")
    if (request.method, request.path.partition("?")[0]) != ("POST", "/v1/messages"):
        raise Refused(f"no such place: {request.path}", 404, "not_found_error")
    version = request.headers.get("anthropic-version")
    if version is None:
        raise Refused("anthropic-version: header is required")
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise Refused(f"the request body is not valid JSON: {error}") from error
    check_request(body, version)
    checked: dict[str, Any] = body
    return checked


def _message(body: dict[str, Any], script: Script, number: int) -> dict[str, Any]:
    usage = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    return {
        "id": f"msg_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": script.content,
        "stop_reason": script.stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        **script.more,
        "usage": usage | script.usage,
    }


def _begun(block: dict[str, Any]) -> dict[str, Any]:
    empty = {"text": {"text": "", "citations": None}, "thinking": {"thinking": "", "signature": ""}}
    if block["type"] in ("tool_use", "server_tool_use"):
        return {**block, "input": {}}
    return {**block, **empty.get(block["type"], {})}


def _deltas(block: dict[str, Any], *, cut: bool) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for piece in re.findall(r"\s*\S+|\s+$", block["text"]):
            yield {"type": "text_delta", "text": piece}
        for citation in block.get("citations") or ():
            yield {"type": "citations_delta", "citation": citation}
    elif block["type"] == "thinking":
        if block["thinking"]:
            yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] in ("tool_use", "server_tool_use"):
        yield {"type": "input_json_delta", "partial_json": ""}
        text = json.dumps(block["input"]) if block["input"] else ""
        text = text[: len(text) // 2] if cut else text
        for start in range(0, len(text), 7):
            yield {"type": "input_json_delta", "partial_json": text[start : start + 7]}


def _chat(message: dict[str, Any]) -> Iterator[ChatMessage]:
    """Give a message as the echo reads it."""
    content = blocks(message["content"])
    text = " ".join(block["text"] for block in content if block["type"] == "text")
    if message["role"] == "assistant":
        calls = [
            ToolCall(block["id"], block["name"], json.dumps(block["input"]))
            for block in content
            if block["type"] == "tool_use"
        ]
        yield ChatMessage.assistant(text, tool_calls=calls)
        return
    for block in content:
        if block["type"] == "tool_result":
            said = " ".join(part["text"] for part in blocks(block.get("content", "nothing")))
            yield ChatMessage.tool(said, tool_call_id=block["tool_use_id"])
    if text or any(block["type"] == "image" for block in content):
        yield ChatMessage(message["role"], text or "a picture")


def _options(body: dict[str, Any]) -> dict[str, Any]:
    choice = body.get("tool_choice", {"type": "auto"})
    tools = [
        {
            "name": tool["name"],
            "description": tool.get("description", ""),
            "parameters": tool["input_schema"],
        }
        for tool in body.get("tools", ())
    ]
    named = {"any": "required", "tool": choice.get("name")}
    return {
        "max_tokens": body["max_tokens"],
        "stop": body.get("stop_sequences", ()),
        "tools": tools,
        "tool_choice": named.get(choice["type"], choice["type"]),
    }


def _instance(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0])
    if schema.get("type") == "object":
        return {name: _instance(inner) for name, inner in schema.get("properties", {}).items()}
    plain = {"array": [], "string": "text", "integer": 4, "number": 0.5, "boolean": True}
    return plain.get(schema.get("type", "null"))
