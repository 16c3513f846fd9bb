"""``/v1/chat/completions``: a conversation's next message, whole or as it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from json.encoder import encode_basestring
from typing import Any, TypeAlias

from fastapi import APIRouter, Request, Response

from blazen.server.apis.openai.answers import EVENTS
from blazen.server.apis.openai.chat_asked import ChatBody
from blazen.server.apis.openai.chat_shapes import ChatAnswer
from blazen.server.apis.openai.telling import (
    fingerprint,
    likelihoods,
    new_id,
    now,
    reason_of,
    timings_of,
    usage_of,
)
from blazen.server.asking import prepared, remember
from blazen.server.failures import Shape
from blazen.server.merging import Piece, collected, merged
from blazen.server.reading import read_messages
from blazen.server.service import Service, service_of
from blazen.server.streaming import sse, to_json
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage
from blazen.types.completion import CompletionOptions, InferenceChunk, ModelResponse

router = APIRouter()

Extras: TypeAlias = Callable[[Sequence[ModelResponse]], dict[str, Any]]
"""What an API tells of answers beside what OpenAI's does."""


@router.post("/chat/completions", response_model=ChatAnswer, responses=EVENTS, tags=["chat"])
async def create_chat_completion(request: Request, body: ChatBody) -> Response:
    """Answer a conversation, in one piece or as server-sent events."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "model")  # noqa: A001 - the manager's word
    return await answer_chat(request, service, id, body)


async def answer_chat(
    request: Request,
    service: Service,
    id: str,  # noqa: A002 - the manager's word
    body: ChatBody,
    extras: Extras | None = None,
) -> Response:
    """Have a model answer."""
    options = body.options()
    messages = await read_messages(body.messages, service.settings)
    chat = _Chat(service, request.url.path, id, messages, options, body, extras)
    if body.stream:
        return sse(request, chat.events(), Shape.OpenAi, done=True)
    answer = await while_connected(request, chat.whole())
    return Response(to_json(answer), media_type="application/json")


class _Chat:
    """One request, from its messages to what is sent."""

    def __init__(
        self,
        service: Service,
        path: str,
        id: str,  # noqa: A002 - the manager's word
        messages: Sequence[ChatMessage],
        options: Sequence[CompletionOptions],
        body: ChatBody,
        extras: Extras | None,
    ) -> None:
        self._service, self._path, self._id = service, path, id
        self._messages, self._options, self._body = messages, options, body
        self._extras = extras
        self._head = {"id": new_id("chatcmpl"), "created": now(), "model": id}

    async def whole(self) -> dict[str, Any]:
        """Give the whole answer."""
        streams = await self._streams()
        answers = await collected(streams)
        await remember(self._service, self._path, self._id, self._messages, answers)
        return {
            **self._head,
            "object": "chat.completion",
            "system_fingerprint": fingerprint(),
            "choices": [
                _choice(index, answer, likely=bool(self._body.logprobs))
                for index, answer in enumerate(answers)
            ],
            **self._told(answers, usage=True),
        }

    async def events(self) -> AsyncIterator[bytes]:
        """Give the answer's events, written out: all that is ready at once."""
        streams = await self._streams()
        writer = _Writer(self._head, usage=self._body.wants_usage)
        begun: set[int] = set()
        ended: dict[int, ModelResponse] = {}
        async for pieces in merged(streams):
            written: list[str] = []
            for index, chunk in pieces:
                if index not in begun:
                    begun.add(index)
                    written.append(writer.write(index, '{"role":"assistant","content":""}'))
                if chunk is not None:
                    written += writer.pieces(index, chunk)
                    continue
                ended[index] = streams[index].response
                if len(ended) < len(streams):
                    written.append(writer.end(index, ended[index]))
            if len(ended) < len(streams):
                yield "".join(written).encode("utf-8", "replace")
                continue
            answers = [ended[place] for place in range(len(streams))]
            last = last_of(pieces)
            written += writer.close(last, ended[last], self._told(answers, usage=writer.usage))
            # Before the last words, so that whoever reads them finds the turn in its file.
            await remember(self._service, self._path, self._id, self._messages, answers)
            yield "".join(written).encode("utf-8", "replace")

    async def _streams(self) -> list[Any]:
        messages = await prepared(
            self._service, self._id, self._messages, thinking=self._body.thinking
        )
        manager = self._service.manager
        return [manager.complete_stream(self._id, messages, one) for one in self._options]

    def _told(self, answers: Sequence[ModelResponse], *, usage: bool) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if usage:
            told["usage"] = usage_of(answers)
        timings = timings_of(answers)
        if timings is not None:
            told["timings"] = timings
        if self._extras is not None:
            told |= self._extras(answers)
        return told


def last_of(pieces: Sequence[Piece]) -> int:
    """Give which answer ended last."""
    return next(piece.which for piece in reversed(pieces) if piece.chunk is None)


class _Writer:
    """Writes the events of a stream: what is the same in all of them is written once."""

    def __init__(self, head: dict[str, Any], *, usage: bool) -> None:
        self.usage = usage
        same = {**head, "object": "chat.completion.chunk", "system_fingerprint": fingerprint()}
        self._open = "data: " + to_json(same).decode()[:-1] + ',"choices":['
        self._head = self._open + '{"index":'
        self._rest = ',"logprobs":null,"finish_reason":null}'
        self._close = '],"usage":null}\n\n' if usage else "]}\n\n"

    def write(self, index: int, delta: str) -> str:
        """Write an event of one delta."""
        return f'{self._head}{index},"delta":{delta}{self._rest}{self._close}'

    def pieces(self, index: int, chunk: InferenceChunk) -> list[str]:
        """Write a piece of an answer; most hold a text and nothing else."""
        if chunk.logprobs:
            told = to_json(likelihoods(chunk.logprobs)).decode()
            rest = f',"logprobs":{told},"finish_reason":null}}'
            text = encode_basestring(chunk.content or "")
            delta = f'{{"content":{text}}}'
            written = [f'{self._head}{index},"delta":{delta}{rest}{self._close}']
        elif chunk.content:
            written = [self.write(index, f'{{"content":{encode_basestring(chunk.content)}}}')]
        else:
            written = []
        if chunk.reasoning:
            delta = f'{{"reasoning_content":{encode_basestring(chunk.reasoning)}}}'
            written.insert(0, self.write(index, delta))
        if chunk.tool_calls:
            calls = [_call_piece(delta) for delta in chunk.tool_calls]
            written.append(self.write(index, to_json({"tool_calls": calls}).decode()))
        return written

    def end(self, index: int, answer: ModelResponse, told: dict[str, Any] | None = None) -> str:
        """Write why an answer ended."""
        choice = f'{index},"delta":{{}},"logprobs":null,"finish_reason":"{reason_of(answer)}"}}'
        return self._head + choice + (self._close if not told else _closing(told))

    def close(self, index: int, answer: ModelResponse, told: dict[str, Any]) -> list[str]:
        """Write the end of the last answer, and what is told of all."""
        if not self.usage:
            return [self.end(index, answer, told)]
        return [self.end(index, answer), self._open + _closing(told)]


def _closing(told: dict[str, Any]) -> str:
    return "]," + to_json(told).decode()[1:] + "\n\n"


def _call_piece(delta: Any) -> dict[str, Any]:
    piece: dict[str, Any] = {"index": delta.index}
    function: dict[str, Any] = {"arguments": delta.arguments}
    if delta.id is not None:
        piece |= {"id": delta.id, "type": "function"}
    if delta.name is not None:
        function = {"name": delta.name, **function}
    return {**piece, "function": function}


def _choice(index: int, answer: ModelResponse, *, likely: bool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.content if answer.content or not answer.tool_calls else None,
        "refusal": None,
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.tool_calls
        ]
    return {
        "index": index,
        "message": message,
        "logprobs": likelihoods(answer.logprobs) if likely else None,
        "finish_reason": reason_of(answer),
    }
