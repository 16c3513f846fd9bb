"""``/generate``: an answer to a prompt or a conversation, with the time that it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from blazen.server.apis.native.shapes import Generated, streamed
from blazen.server.asking import prepared, remember
from blazen.server.failures import Shape
from blazen.server.fields import WHOLE, Body, Flag, Number, Text, Whole
from blazen.server.headers import is_base_model
from blazen.server.reading import MOST_MESSAGES, Message, read_messages
from blazen.server.refusals import RefusedError
from blazen.server.sampling import Stop, Stops
from blazen.server.service import Service, service_of
from blazen.server.streaming import sse
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage, Prompt
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunkStream,
    ModelResponse,
)

router = APIRouter()


class GenerateBody(Body):
    """A prompt or messages, and how to answer."""

    prompt: Text | None = None
    messages: Annotated[list[Message], Field(max_length=MOST_MESSAGES)] | None = None
    model: Text | None = None
    raw: Flag = False
    """Whether the prompt is what the model is to go on with as it stands, without its template."""
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    temp: Annotated[Number, Field(ge=0)] | None = None
    temperature: Annotated[Number, Field(ge=0)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0), WHOLE] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[Number, Field(ge=0)] | None = None
    stop: Stop | Stops | None = None
    seed: Whole | None = None
    """0 draws one, as the negative ones do."""
    thinking: Flag | None = None
    """Whether the model rewrites the prompt first."""
    stream: Flag = False

    def options(self) -> CompletionOptions:
        """Give them as models take them."""
        if self.temp is not None and self.temperature is not None:
            raise RefusedError("temp and temperature are the same: send one", param="temp")
        given = {
            "max_tokens": self.max_tokens,
            "temperature": self.temp if self.temperature is None else self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repeat_penalty": self.repeat_penalty,
            "stop": self.stop or None,
            "seed": self.seed % 2**32 if self.seed is not None and self.seed > 0 else None,
        }
        return CompletionOptions(**{k: value for k, value in given.items() if value is not None})  # type: ignore[arg-type]  # each has been checked by its name


@router.post("/generate", response_model=Generated, responses=streamed(Generated))
async def generate(request: Request, body: GenerateBody) -> Response:
    """Answer; with ``stream`` in events of a piece of ``text`` each, the times in the last."""
    if (body.prompt is None) == (not body.messages):
        raise RefusedError("send either a prompt or messages", param="prompt")
    service = service_of(request)
    id = await service.open.name_of(body.model, "model")  # noqa: A001 - the manager's word
    options = body.options()
    asked, given = await _read(service, id, body)
    if body.stream:
        return sse(
            request, _events(service, id, body, asked, given, options), Shape.Native, done=True
        )
    return JSONResponse(
        await while_connected(request, _whole(service, id, body, asked, given, options))
    )


async def _read(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
) -> tuple[list[ChatMessage], Prompt | None]:
    """Give what was said, and the text to go on with where there is no template to write it."""
    if body.messages:
        if body.raw:
            raise RefusedError("raw goes with a prompt, not with messages", param="raw")
        return await read_messages(body.messages, service.settings), None
    prompt = body.prompt or ""
    listing = service.open.listing_of(id)
    bare = body.raw or await asyncio.to_thread(is_base_model, listing)
    return [ChatMessage.user(prompt)], Prompt(prompt) if bare else None


async def _stream(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
    asked: list[ChatMessage],
    prompt: Prompt | None,
    options: CompletionOptions,
) -> InferenceChunkStream:
    if prompt is not None:
        return service.manager.complete_stream(id, prompt, options)
    given = await prepared(service, id, asked, thinking=body.thinking)
    return service.manager.complete_stream(id, given, options)


async def _whole(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
    asked: list[ChatMessage],
    prompt: Prompt | None,
    options: CompletionOptions,
) -> dict[str, Any]:
    began = time.perf_counter()
    answer = await (await _stream(service, id, body, asked, prompt, options)).collect()
    await remember(service, "/generate", id, asked, [answer])
    return _told(answer, answer.content, time.perf_counter() - began)


async def _events(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
    asked: list[ChatMessage],
    prompt: Prompt | None,
    options: CompletionOptions,
) -> AsyncIterator[dict[str, Any]]:
    began = time.perf_counter()
    stream = await _stream(service, id, body, asked, prompt, options)
    async with stream:
        async for chunk in stream:
            if chunk.content:
                yield {"text": chunk.content}
    await remember(service, "/generate", id, asked, [stream.response])
    yield {"done": True, **_told(stream.response, "", time.perf_counter() - began)}


def _told(answer: ModelResponse, text: str, seconds: float) -> dict[str, Any]:
    usage, timing = answer.usage, answer.timing
    return {
        "text": text,
        "prompt_tokens": usage.prompt_tokens if usage is not None else None,
        "generated_tokens": usage.completion_tokens if usage is not None else None,
        "prefill_ms": _milliseconds(timing.prompt if timing is not None else None),
        "decode_ms": _milliseconds(timing.decode if timing is not None else None),
        "total_ms": seconds * 1e3,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
