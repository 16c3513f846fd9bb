"""``/api/chat``: a conversation's next message."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from blazen.server.apis.ollama.asked import ChatBody, Message, ToolBody
from blazen.server.apis.ollama.loading import loaded_or_gone
from blazen.server.apis.ollama.names import id_of
from blazen.server.apis.ollama.settings import read_settings
from blazen.server.apis.ollama.shapes import ChatAnswer, streamed
from blazen.server.apis.ollama.talking import Talk, likelihoods, made_calls
from blazen.server.asking import prepared, remember
from blazen.server.failures import Shape
from blazen.server.images import read_base64_image
from blazen.server.refusals import RefusedError
from blazen.server.schemas import check_schema
from blazen.server.service import Service, service_of
from blazen.server.settings import ServerSettings
from blazen.server.streaming import ndjson
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage, Part, Role, Tool, ToolCall
from blazen.types.completion import CompletionOptions

router = APIRouter()


@router.post(
    "/api/chat",
    response_model=ChatAnswer,
    response_model_exclude_none=True,
    responses=streamed(ChatAnswer),
)
async def chat(request: Request, body: ChatBody) -> Response:
    """Answer a conversation, in lines of JSON where ``stream`` is not false."""
    service = service_of(request)
    id = await id_of(service, body.model, "model")  # noqa: A001 - the manager's word
    if not body.messages:
        done = await while_connected(request, loaded_or_gone(service, id, body))
        done["message"] = {"role": "assistant", "content": ""}
        return JSONResponse(done)
    options = await read_settings(
        body, service.open.listing_of(id), tools=read_tools(body.tools or ())
    )
    messages = await read_messages(body.messages, service.settings)
    if body.stream is not False:
        return ndjson(request, _lines(service, id, body, messages, options), Shape.Ollama)
    return JSONResponse(
        await while_connected(request, _whole(service, id, body, messages, options))
    )


async def _whole(
    service: Service,
    id: str,  # noqa: A002
    body: ChatBody,
    messages: list[ChatMessage],
    options: CompletionOptions,
) -> dict[str, Any]:
    given = await prepared(service, id, messages)
    talk = Talk(service, id, body.model, given, options, body.keep_alive)
    answer = await talk.whole()
    await remember(service, "/api/chat", id, messages, [answer])
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.reasoning:
        message["thinking"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = made_calls(answer.tool_calls)
    more = {"logprobs": likelihoods(answer.logprobs)} if body.logprobs else {}
    return talk.end(message=message, **more)


async def _lines(
    service: Service,
    id: str,  # noqa: A002
    body: ChatBody,
    messages: list[ChatMessage],
    options: CompletionOptions,
) -> AsyncIterator[dict[str, Any]]:
    given = await prepared(service, id, messages)
    talk = Talk(service, id, body.model, given, options, body.keep_alive)
    async for chunk in talk.pieces():
        message: dict[str, Any] = {"role": "assistant", "content": chunk.content or ""}
        if chunk.reasoning:
            message["thinking"] = chunk.reasoning
        more = {"logprobs": likelihoods(chunk.logprobs)} if chunk.logprobs else {}
        if chunk.content or chunk.reasoning or more:
            yield talk.piece(message=message, **more)
    answer = talk.response
    if answer.tool_calls:
        calls = made_calls(answer.tool_calls)
        yield talk.piece(message={"role": "assistant", "content": "", "tool_calls": calls})
    await remember(service, "/api/chat", id, messages, [answer])
    yield talk.end(message={"role": "assistant", "content": ""})


def read_tools(tools: Sequence[ToolBody]) -> tuple[Tool, ...]:
    """Give the functions that may be called."""
    check_schema([tool.function.parameters for tool in tools], "tools")
    return tuple(
        Tool(tool.function.name, tool.function.description or "", tool.function.parameters)
        for tool in tools
    )


async def read_messages(messages: Sequence[Message], settings: ServerSettings) -> list[ChatMessage]:
    """Give the messages, each tool's answer with the call that it belongs to."""
    read: list[ChatMessage] = []
    calls = _Calls(())
    for place, message in enumerate(messages):
        made: tuple[ToolCall, ...] = ()
        if message.tool_calls:
            made = tuple(
                ToolCall(
                    call.id or f"call_{place}_{number}",
                    call.function.name,
                    json.dumps(call.function.arguments, ensure_ascii=False),
                )
                for number, call in enumerate(message.tool_calls)
            )
            calls = _Calls(made)
        answers = None
        if message.role == "tool":
            answers = calls.answered_by(message, f"messages.{place}")
        read.append(
            ChatMessage(
                Role(message.role),
                await _content(message, settings),
                tool_calls=made,
                tool_call_id=answers,
            )
        )
    return read


class _Calls:
    """The calls of a message that wait for what their tools answer."""

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        self._left = dict(enumerate(calls))
        self._in_turn = deque(self._left)
        self._by_id: dict[str, deque[int]] = {}
        self._by_name: dict[str, deque[int]] = {}
        for place, call in enumerate(calls):
            self._by_id.setdefault(call.id, deque()).append(place)
            self._by_name.setdefault(call.name, deque()).append(place)

    def answered_by(self, message: Message, where: str) -> str:
        """Find the call that a tool's message answers: by its id, its tool's name, or its turn."""
        if message.tool_call_id:
            fits = self._by_id.get(message.tool_call_id, deque())
        elif message.tool_name:
            fits = self._by_name.get(message.tool_name, deque())
        else:
            fits = self._in_turn
        while fits:
            call = self._left.pop(fits.popleft(), None)
            if call is not None:
                return call.id
        raise RefusedError(
            f"{where} is a tool's answer, and no message before it calls for it: send the "
            "assistant's message with its tool_calls first",
            param=where,
        )


async def _content(message: Message, settings: ServerSettings) -> str | list[Part]:
    if not message.images:
        return message.content or ""
    shown: list[Part] = [await read_base64_image(text, settings) for text in message.images]
    return [*shown, message.content] if message.content else shown
