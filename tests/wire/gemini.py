"""A server that speaks Google's Gemini API, as its documentation writes it down.

Requests are held to the fields of ai.google.dev/api (generate-content, embeddings): what is not
among them is refused as Google refuses it. Answers, events and errors have the shapes that are
shown there, in the guides on thinking, thought signatures, function calling and long decode, and in
google.rpc.Status. What is said is an echo of what was asked, so that the conformance suites hold;
`Script` says something else.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blazen.testing import EchoEmbedding, EchoModel, EchoOptions
from blazen.types.chat import ChatMessage, ToolCall
from tests.remote.misbehaving import Request, Wire
from tests.wire.gemini_rules import Refused, read_embed, read_generate

KEY = "AIza-a-key-that-nobody-may-see"
CONTEXT = 5_000
"""How many words fit."""
SIGNATURE = base64.b64encode(b"\xfb\xff what it thought").decode()

_PATH = re.compile(r"/(v1|v1beta)/models/([\w.-]+):(\w+)")


@dataclass
class Script:
    """What the model says, in place of an echo: the responses of a stream, or the one answer."""

    responses: list[dict[str, Any]]
    status: int = 200
    headers: dict[str, Any] = field(default_factory=dict)


def response(
    *parts: dict[str, Any], finish: str | None = None, usage: Any = None, **more: Any
) -> dict[str, Any]:
    """Give a response with one candidate."""
    candidate: dict[str, Any] = {"index": 0, **more.pop("candidate", {})}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish is not None:
        candidate["finishReason"] = finish
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    return {
        "candidates": [candidate],
        "usageMetadata": counts if usage is None else usage,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "resp-1",
        **more,
    }


def status(code: int, message: str, name: str, *details: Any) -> dict[str, Any]:
    """Give an error as google.rpc.Status is written in JSON."""
    error: dict[str, Any] = {"code": code, "message": message, "status": name}
    if details:
        error["details"] = list(details)
    return {"error": error}


class GeminiWire:
    """The API: it checks what comes in, and answers whole or in events."""

    def __init__(self, *, repeat: int = 1, pause: float = 0.0, thinks: bool = False) -> None:
        self._echo = EchoModel(EchoOptions(repeat=repeat))
        self._once = EchoModel()
        self._letters = EchoEmbedding()
        self._pause = pause
        self._thinks = thinks
        self._numbers = itertools.count(1)
        self.scripts: list[Script] = []
        """What is said next, before the echo has its turn."""
        self.bodies: list[dict[str, Any]] = []
        """What came in."""
        self.paths: list[str] = []

    async def __call__(self, wire: Wire, request: Request) -> None:
        """Answer a request."""
        try:
            model, method, body = self._accepted(request)
            if method == "batchEmbedContents":
                body = read_embed(model, body)
                self.bodies.append(body)
                await wire.answer(await self._embedded(model, body))
                return
            body = read_generate(body)
            self.bodies.append(body)
            script = self.scripts.pop(0) if self.scripts else await self._answer(model, body)
        except Refused as refusal:
            await wire.answer(
                status(refusal.code, str(refusal), refusal.name, *refusal.details), refusal.code
            )
            return
        if method == "generateContent":
            await asyncio.sleep(self._pause * len(script.responses))
            whole = script.responses[0] if script.status != 200 else joined(script.responses)
            await wire.answer(whole, script.status, **script.headers)
            return
        if script.status != 200:
            # A stream that is not begun is refused with a list of one.
            await wire.answer(script.responses, script.status, **script.headers)
            return
        await wire.head(content_type="text/event-stream", **script.headers)
        for event in script.responses:
            await wire.raw(written(event))
            await asyncio.sleep(self._pause)
        wire.close()

    def _accepted(self, request: Request) -> tuple[str, str, dict[str, Any]]:
        path, _, query = request.path.partition("?")
        self.paths.append(path)
        if request.headers.get("x-goog-api-key") != KEY:
            raise Refused(
                "API key not valid. Please pass a valid API key.",
                details=[
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "API_KEY_INVALID",
                        "domain": "googleapis.com",
                        "metadata": {"service": "generativelanguage.googleapis.com"},
                    }
                ],
            )
        found = _PATH.fullmatch(path)
        methods = ("generateContent", "streamGenerateContent", "batchEmbedContents")
        if request.method != "POST" or found is None or found[3] not in methods:
            raise Refused(f"no such place: {request.path}", 404, "NOT_FOUND")
        if query != ("alt=sse" if found[3] == "streamGenerateContent" else ""):
            raise Refused(f"the query {query!r} is not for {found[3]}")
        if found[2] == "gemini-none":
            raise Refused(
                f"models/{found[2]} is not found for API version {found[1]}, or is not supported "
                f"for {found[3]}.",
                404,
                "NOT_FOUND",
            )
        try:
            body = json.loads(request.body)
        except ValueError as error:
            raise Refused(f"Invalid JSON payload received. {error}") from error
        return found[2], found[3], body

    async def _answer(self, model: str, body: dict[str, Any]) -> Script:
        chat = list(_chat(body))
        words = sum(len(message.text.split()) for message in chat)
        if words > CONTEXT:
            raise Refused(
                f"The input token count ({words}) exceeds the maximum number of tokens allowed "
                f"({CONTEXT})."
            )
        given = body.get("generationConfig", {})
        echo = self._echo
        if given.get("responseMimeType") == "application/json":
            chat.append(ChatMessage.user(json.dumps(_instance(given.get("responseJsonSchema")))))
            echo = self._once
        answer = await echo.complete(chat, _options(body))
        assert answer.usage is not None
        thinking = given.get("thinkingConfig", {})
        thinks = self._thinks and thinking.get("thinkingBudget") != 0
        usage: dict[str, Any] = {
            "promptTokenCount": answer.usage.prompt_tokens,
            "totalTokenCount": answer.usage.prompt_tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.usage.prompt_tokens}],
        }
        known_as = f"resp-{next(self._numbers):04}"
        responses = []

        def say(part: dict[str, Any], **more: Any) -> None:
            one = response(part, usage=dict(usage), **more)
            responses.append({**one, "modelVersion": model, "responseId": known_as})

        if thinks:
            usage["thoughtsTokenCount"] = 2
            if thinking.get("includeThoughts"):
                say({"text": "I think.", "thought": True})
        pieces = re.findall(r"\s*\S+|\s+$", answer.content)
        for said, piece in enumerate(pieces, start=1):
            usage |= {"candidatesTokenCount": said}
            usage["totalTokenCount"] = answer.usage.prompt_tokens + said
            say({"text": piece}, candidate=_likely(piece, given))
        for call in answer.tool_calls:
            usage |= {"candidatesTokenCount": 1}
            part: dict[str, Any] = {"functionCall": {"name": call.name, "args": call.parsed()}}
            if thinks:
                part["thoughtSignature"] = SIGNATURE
            say(part)
        if not responses:
            say({"text": ""})
        if thinks and not answer.tool_calls:
            say({"text": "", "thoughtSignature": SIGNATURE})
        length = answer.finish_reason is not None and answer.finish_reason.value == "length"
        responses[-1]["candidates"][0]["finishReason"] = "MAX_TOKENS" if length else "STOP"
        return Script(responses)

    async def _embedded(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        requests = body["requests"]
        texts = ["".join(part["text"] for part in one["content"]["parts"]) for one in requests]
        answer = await self._letters.embed(texts)
        rows = []
        for one, row in zip(requests, answer.embeddings, strict=True):
            wanted = one.get("outputDimensionality", answer.dimensions)
            cut = list(row)[:wanted] if wanted < answer.dimensions else list(row)
            if model != "gemini-embedding-001" and wanted < answer.dimensions:
                length = math.sqrt(sum(number * number for number in cut))
                cut = [number / length for number in cut] if length else cut
            rows.append({"values": cut})
        assert answer.usage is not None
        await asyncio.sleep(self._pause * len(texts))
        return {
            "embeddings": rows,
            "usageMetadata": {"promptTokenCount": answer.usage.tokens},
        }


def joined(responses: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the responses of a stream as the one answer that is not streamed."""
    whole = json.loads(json.dumps(responses[0]))
    for each in responses[1:]:
        more = json.loads(json.dumps(each))
        candidates = more.pop("candidates", [])
        whole |= more
        for candidate in candidates:
            mine = whole.setdefault("candidates", [{"index": 0}])[0]
            parts = candidate.pop("content", {"parts": []})["parts"]
            mine.setdefault("content", {"role": "model", "parts": []})["parts"] += parts
            likely = candidate.pop("logprobsResult", None)
            for name, tokens in (likely or {}).items():
                mine.setdefault("logprobsResult", {}).setdefault(name, []).extend(tokens)
            mine |= candidate
    for candidate in whole.get("candidates", ()):
        merged: list[dict[str, Any]] = []
        for part in candidate.get("content", {}).get("parts", ()):
            last = merged[-1] if merged else {}
            plain = {"text", "thought"}
            same = last.get("thought") == part.get("thought")
            if "text" in last and set(last) | set(part) <= plain and "text" in part and same:
                last["text"] += part["text"]
            else:
                merged.append(part)
        if merged:
            candidate["content"]["parts"] = merged
    return whole


def written(event: Any) -> bytes:
    """Give an event as it goes over the wire; the API ends its lines with CR and LF."""
    return f"data: {json.dumps(event)}\r\n\r\n".encode()


def _likely(piece: str, given: dict[str, Any]) -> dict[str, Any]:
    if not given.get("responseLogprobs"):
        return {}
    chosen = {"token": piece, "tokenId": 7, "logProbability": -0.1}
    others = [
        {"token": f"{piece}{number}", "tokenId": number, "logProbability": -1.0 - number}
        for number in range(1, given.get("logprobs", 0))
    ]
    result: dict[str, Any] = {"chosenCandidates": [chosen]}
    if given.get("logprobs"):
        result["topCandidates"] = [{"candidates": [chosen, *others]}]
    return {"logprobsResult": result}


def _chat(body: dict[str, Any]) -> Iterator[ChatMessage]:
    """Give the contents as the echo reads them."""
    system = body.get("systemInstruction")
    if system is not None:
        yield ChatMessage.system("".join(part["text"] for part in system["parts"]))
    for content in body["contents"]:
        parts = content["parts"]
        text = " ".join(
            part["text"] for part in parts if part.get("text") and "thought" not in part
        )
        if content.get("role") == "model":
            calls = [part["functionCall"] for part in parts if "functionCall" in part]
            yield ChatMessage.assistant(
                text,
                tool_calls=[
                    ToolCall(call.get("id", "x"), call["name"], json.dumps(call.get("args", {})))
                    for call in calls
                ],
            )
            continue
        answered = [part["functionResponse"] for part in parts if "functionResponse" in part]
        for answer in answered:
            yield ChatMessage.tool(json.dumps(answer["response"]), tool_call_id="x")
        if text or not answered:
            media = sum("inlineData" in part or "fileData" in part for part in parts)
            yield ChatMessage.user(text + " (media)" * media)


def _options(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("generationConfig", {})
    declared = [
        one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())
    ]
    choice = body.get("toolConfig", {}).get("functionCallingConfig", {"mode": "AUTO"})
    named = (choice.get("allowedFunctionNames") or ["required"])[0]
    return {
        "max_tokens": given.get("maxOutputTokens"),
        "stop": given.get("stopSequences", ()),
        "tools": [
            {
                "name": one["name"],
                "description": one.get("description", ""),
                "parameters": one.get("parametersJsonSchema"),
            }
            for one in declared
        ],
        "tool_choice": named if choice["mode"] == "ANY" else choice["mode"].lower(),
    }


def _instance(schema: Any) -> Any:
    schema = schema or {"type": "object"}
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _instance(inner) for name, inner in schema.get("properties", {}).items()}
    plain = {"array": [], "string": "text", "integer": 4, "number": 0.5, "boolean": True}
    return plain.get(schema.get("type", "null"))
