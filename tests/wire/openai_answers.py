"""What OpenAI answers, whole or in events, in the shapes of its API reference."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.remote.misbehaving import Wire
from tests.wire.openai_rules import REASONING

_CREATED = 1_741_569_952


@dataclass
class Script:
    """What the model says: text, a refusal, thoughts, calls, and how it ends."""

    content: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Names and arguments."""
    finish: str = "stop"
    refusal: str = ""
    reasoning: str = ""
    reasoning_field: str = "reasoning_content"
    usage: dict[str, Any] = field(default_factory=dict)
    prompt_tokens: int = 3
    completion_tokens: int = 0
    message: dict[str, Any] = field(default_factory=dict)
    """Further fields of the message."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further fields of the answer."""
    logprobs: int | None = None

    @property
    def words(self) -> list[str]:
        return re.findall(r"\s*\S+|\s+$", self.content)


async def send(wire: Wire, data: bytes) -> None:
    """Send a chunk of a body whose end is told, so that a cut is seen."""
    await wire.raw(b"%x\r\n%s\r\n" % (len(data), data))


def written(event: dict[str, Any], *, named: bool) -> bytes:
    """Give an event as it goes over the wire."""
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


# What goes out: Chat Completions.


def _usage(script: Script) -> dict[str, Any]:
    usage = {
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.completion_tokens,
        "total_tokens": script.prompt_tokens + script.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    return {**usage, **script.usage}


def _likely(word: str, count: int) -> dict[str, Any]:
    token = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    others = [{"token": f"other{n}", "logprob": -1.0 - n, "bytes": [n]} for n in range(count - 1)]
    return {**token, "top_logprobs": [token, *others] if count else []}


def chat_answer(body: dict[str, Any], script: Script) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if script.calls or script.refusal else script.content,
        "refusal": script.refusal or None,
        "annotations": [],
        **script.message,
    }
    if script.calls:
        message["tool_calls"] = [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": text}}
            for n, (name, text) in enumerate(script.calls)
        ]
    if script.reasoning:
        message[script.reasoning_field] = script.reasoning
    logprobs = None
    if script.logprobs is not None:
        tokens = [_likely(word, script.logprobs) for word in script.words]
        logprobs = {"content": tokens, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": script.finish,
    }
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": _CREATED,
        "model": f"{body['model']}-2026-01-01",
        "choices": [choice],
        "usage": _usage(script),
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        **script.more,
    }


def chat_events(
    body: dict[str, Any], script: Script, *, usage: bool = True
) -> Iterator[dict[str, Any]]:
    asked = usage and (body.get("stream_options") or {}).get("include_usage")
    head = {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": f"{body['model']}-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        **({"usage": None} if asked else {}),
        **script.more,
    }

    def event(delta: dict[str, Any], finish: str | None = None, likely: Any = None) -> Any:
        choice = {"index": 0, "delta": delta, "logprobs": likely, "finish_reason": finish}
        return {**head, "choices": [choice]}

    yield event({"role": "assistant", "content": "", "refusal": None, **script.message})
    for word in re.findall(r"\s*\S+", script.reasoning):
        yield event({script.reasoning_field: word})
    for word in script.words:
        likely = None
        if script.logprobs is not None:
            likely = {"content": [_likely(word, script.logprobs)], "refusal": None}
        yield event({"content": word}, likely=likely)
    for word in re.findall(r"\s*\S+", script.refusal):
        yield event({"refusal": word})
    for n, (name, text) in enumerate(script.calls):
        start = {"name": name, "arguments": ""}
        call = {"index": n, "id": f"call_{n}", "type": "function", "function": start}
        yield event({"tool_calls": [call]})
        for piece in re.findall(r".{1,7}", text, re.DOTALL):
            yield event({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
    yield event({}, script.finish)
    if asked:
        yield {**head, "choices": [], "usage": _usage(script)}


# What goes out: Responses.


def _output(body: dict[str, Any], script: Script) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if script.reasoning or REASONING.match(body["model"]):
        summary = [{"type": "summary_text", "text": script.reasoning}] if script.reasoning else []
        encrypted = "gAAAA-sealed" if body.get("include") else None
        items.append(
            {
                "id": "rs_1",
                "type": "reasoning",
                "summary": summary,
                "encrypted_content": encrypted,
                "status": None,
            }
        )
    for n, (name, text) in enumerate(script.calls):
        call = {"id": f"fc_{n}", "type": "function_call", "status": "completed"}
        items.append({**call, "call_id": f"call_{n}", "name": name, "arguments": text})
    if not script.calls:
        likely = [_likely(word, script.logprobs or 0) for word in script.words]
        part: dict[str, Any] = {"type": "refusal", "refusal": script.refusal}
        if not script.refusal:
            part = {"type": "output_text", "text": script.content, "annotations": []}
            part["logprobs"] = likely if script.logprobs is not None else []
        status = "incomplete" if script.finish == "length" else "completed"
        message = {"id": "msg_1", "type": "message", "status": status, "role": "assistant"}
        items.append({**message, "content": [part]})
    return items


def response(body: dict[str, Any], script: Script) -> dict[str, Any]:
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    cut = reasons.get(script.finish)
    usage = {
        "input_tokens": script.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": script.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": script.prompt_tokens + script.completion_tokens,
    }
    return {
        "id": "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
        "object": "response",
        "created_at": _CREATED,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": None,
        "max_output_tokens": body.get("max_output_tokens"),
        "model": f"{body['model']}-2026-01-01",
        "output": _output(body, script),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {**usage, **script.usage},
        "user": None,
        "metadata": {},
        **script.more,
    }


def response_events(
    body: dict[str, Any], script: Script, *, usage: bool = True
) -> Iterator[dict[str, Any]]:
    numbers = itertools.count()
    whole = response(body, script)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    begun["incomplete_details"] = None

    def event(kind: str, **more: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}", "sequence_number": next(numbers), **more}

    yield event("created", response=begun)
    yield event("in_progress", response=begun)
    for place, item in enumerate(whole["output"]):
        where = {"item_id": item["id"], "output_index": place}
        kind = item["type"]
        if kind == "reasoning":
            yield event("output_item.added", output_index=place, item={**item, "summary": []})
            for text in item["summary"]:
                part = {"summary_index": 0, **where}
                empty = {**text, "text": ""}
                yield event("reasoning_summary_part.added", part=empty, **part)
                for word in re.findall(r"\s*\S+", text["text"]):
                    yield event("reasoning_summary_text.delta", delta=word, **part)
                yield event("reasoning_summary_text.done", text=text["text"], **part)
                yield event("reasoning_summary_part.done", part=text, **part)
        elif kind == "function_call":
            empty = {**item, "arguments": "", "status": "in_progress"}
            yield event("output_item.added", output_index=place, item=empty)
            for piece in re.findall(r".{1,7}", item["arguments"], re.DOTALL):
                yield event("function_call_arguments.delta", delta=piece, **where)
            arguments = item["arguments"]
            yield event("function_call_arguments.done", arguments=arguments, **where)
        else:
            empty = {**item, "status": "in_progress", "content": []}
            yield event("output_item.added", output_index=place, item=empty)
            yield from _content_events(event, item["content"][0], where, script)
        yield event("output_item.done", output_index=place, item=item)
    yield event("incomplete" if whole["status"] == "incomplete" else "completed", response=whole)


def _content_events(
    event: Any, part: dict[str, Any], where: dict[str, Any], script: Script
) -> Iterator[dict[str, Any]]:
    where = {"content_index": 0, **where}
    if part["type"] == "refusal":
        yield event("content_part.added", part={"type": "refusal", "refusal": ""}, **where)
        for word in re.findall(r"\s*\S+", part["refusal"]):
            yield event("refusal.delta", delta=word, **where)
        yield event("refusal.done", refusal=part["refusal"], **where)
    else:
        empty = {**part, "text": "", "logprobs": []}
        yield event("content_part.added", part=empty, **where)
        for number, word in enumerate(script.words):
            likely = part["logprobs"][number : number + 1]
            yield event("output_text.delta", delta=word, logprobs=likely, **where)
        yield event("output_text.done", text=part["text"], logprobs=part["logprobs"], **where)
    yield event("content_part.done", part=part, **where)
