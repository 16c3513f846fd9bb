"""``/v1/responses``: OpenAI's newer way to ask a chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, NoReturn

from fastapi import APIRouter, Request

from blazen.errors import BlazenError
from blazen.server.apis.openai.answers import EVENTS
from blazen.server.apis.openai.responses.answer import ResponseAnswer
from blazen.server.apis.openai.responses.asked import ResponseAsked
from blazen.server.apis.openai.responses.reading import check, messages_of, options_of
from blazen.server.apis.openai.responses.writing import Writing
from blazen.server.asking import prepared, remember
from blazen.server.failures import Refusal, Shape, answer_of
from blazen.server.merging import collected, merged
from blazen.server.service import Service, service_of
from blazen.server.streaming import sse, to_json
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
    ToolCallDelta,
)

router = APIRouter(prefix="/responses", tags=["responses"])

ROUTE = "/v1/responses"


@router.post("", response_model=ResponseAnswer, responses=EVENTS)
async def create_response(request: Request, body: ResponseAsked) -> Any:
    """Answer a text or a conversation."""
    check(body)
    service = service_of(request)
    options = options_of(body)
    id = await service.open.name_of(body.model, "model")  # noqa: A001 - the manager's word
    messages = await messages_of(body, service.settings)
    writing = Writing(body, id)
    if body.stream:
        events = _events(service, id, messages, options, writing, thinking=body.thinking)
        return sse(request, events, Shape.OpenAi)
    answer = await while_connected(
        request, _answer(service, id, messages, options, thinking=body.thinking)
    )
    for _ in (*writing.take(_in_one_piece(answer)), *writing.end(answer)):
        pass
    return writing.response


@router.get("/{response_id}", response_model=ResponseAnswer)
async def get_response(response_id: str) -> NoReturn:
    """Say that no response is kept."""
    raise _not_kept(response_id)


@router.delete("/{response_id}", response_model=ResponseAnswer)
async def delete_response(response_id: str) -> NoReturn:
    """Say that no response is kept."""
    raise _not_kept(response_id)


async def _answer(
    service: Service,
    id: str,  # noqa: A002
    messages: list[ChatMessage],
    options: CompletionOptions,
    *,
    thinking: bool | None,
) -> ModelResponse:
    asked = await prepared(service, id, messages, thinking=thinking)
    [answer] = await collected([service.manager.complete_stream(id, asked, options)])
    await remember(service, ROUTE, id, messages, [answer])
    return answer


async def _events(
    service: Service,
    id: str,  # noqa: A002
    messages: list[ChatMessage],
    options: CompletionOptions,
    writing: Writing,
    *,
    thinking: bool | None,
) -> AsyncIterator[bytes]:
    asked = await prepared(service, id, messages, thinking=thinking)
    stream: InferenceChunkStream = service.manager.complete_stream(id, asked, options)
    begun = False
    try:
        async with aclosing(merged([stream])) as ready:  # type: ignore[type-var]
            async for pieces in ready:
                events = [] if begun else [*writing.begin()]
                # Not before: what can't be answered is an error with its own status.
                begun = True
                for _, chunk in pieces:
                    if chunk is not None:
                        events += writing.take(chunk)
                if events:
                    yield _written(events)
    except Exception as error:
        if not begun:
            raise
        answer_of(ROUTE, error)  # for the log
        yield _written(writing.fail(error))
        return
    # Before the last words, so that whoever reads them finds the turn in its file.
    await remember(service, ROUTE, id, messages, [stream.response])
    yield _written(writing.end(stream.response))


def _written(events: Iterable[dict[str, Any]]) -> bytes:
    """Write events out: one write for all that is ready costs less than one for each."""
    return b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + to_json(event) + b"\n\n"
        for event in events
    )


def _in_one_piece(answer: ModelResponse) -> InferenceChunk:
    return InferenceChunk(
        content=answer.content or None,
        reasoning=answer.reasoning or None,
        logprobs=answer.logprobs,
        tool_calls=tuple(
            ToolCallDelta(place, call.id, call.name, call.arguments)
            for place, call in enumerate(answer.tool_calls)
        ),
    )


def _not_kept(response_id: str) -> BlazenError:
    return Refusal(
        404,
        f"there is no response {response_id!r:.80}: this server keeps none",
        param="response_id",
    )
