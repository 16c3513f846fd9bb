"""`Model` by OpenAI, and by gateways that speak its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError
from blazen.options.openai import OpenAiOptions
from blazen.options.provider import ProviderOptions
from blazen.protocols.model import Model
from blazen.remote.prices import price_of
from blazen.types.chat import Messages, as_messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)
from blazen_openai.chat import ChatAnswer
from blazen_openai.chat_request import ChatRequest
from blazen_openai.hosted import OpenAiModel
from blazen_openai.request import Request
from blazen_openai.responses import ResponsesAnswer
from blazen_openai.responses_request import ResponsesRequest

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAiProvider(OpenAiModel, Model):
    """A chat model of OpenAI, or of a gateway that speaks its API.

    Nothing is loaded here. `aclose` closes the connections, and otherwise the end of the event loop
    does.
    """

    Options = OpenAiOptions
    options: OpenAiOptions
    _kind = "model"
    _usual = "gpt-6-luna"

    def __init__(self, options: ProviderOptions | None = None) -> None:
        super().__init__(options)
        gateway = self._service.gateway
        self._api = self.options.api or gateway.apis[0]
        if self._api not in gateway.apis:
            raise ValidationError(
                f"{gateway.title} speaks the API {gateway.apis[0]!r}, not {self._api!r}"
            )
        body = self.options.body
        if "stream" in body or body.get("n", 1) != 1:
            raise ValidationError(
                "body can't hold stream, which complete and complete_stream set, nor an n other "
                "than 1: ask several times for several answers"
            )

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        request, chosen = self._request(messages, options)
        return self._stream(self._pieces(request, chosen), chosen)

    async def complete(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> ModelResponse:
        """Answer in one piece."""
        request, chosen = self._request(messages, options)
        return await self._stream(self._whole(request, chosen), chosen).collect()

    def _request(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None
    ) -> tuple[Request, CompletionOptions]:
        chosen = CompletionOptions.of(options)
        chat = as_messages(messages)
        kind: type[Request] = ChatRequest if self._api == "chat" else ResponsesRequest
        gateway, body = self._service.gateway, self.options.body
        return kind(gateway, self._model, chat, chosen, body), chosen

    def _stream(
        self, pieces: AsyncGenerator[InferenceChunk, None], chosen: CompletionOptions
    ) -> InferenceChunkStream:
        begun = InferenceChunkStream.of(pieces, at_once=True)
        return InferenceChunkStream(begun.begin, chosen.response_format)

    async def _whole(
        self, request: Request, chosen: CompletionOptions
    ) -> AsyncGenerator[InferenceChunk, None]:
        body = await self._written(request, stream=False)

        async def ask(client: AsyncOpenAI) -> list[InferenceChunk]:
            # As plain JSON: what the SDK's classes don't know stays, and wrong types are seen.
            told = await client.post(request.path, body=body, cast_to=object)
            return list(self._answer(body, chosen).whole(told))

        for chunk in await self._sdk.call(ask, twice=True):
            yield chunk

    async def _pieces(
        self, request: Request, chosen: CompletionOptions
    ) -> AsyncGenerator[InferenceChunk, None]:
        body = await self._written(request, stream=True)
        answer = self._answer(body, chosen)

        async def ask(client: AsyncOpenAI) -> AsyncIterator[object]:
            import openai

            events: AsyncIterator[object] = await client.post(
                request.path,
                body=body,
                cast_to=object,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
            return events

        async with aclosing(self._sdk.events(ask, twice=True)) as events:
            async for event in events:
                chunk = answer.event(event)
                if chunk is not None:
                    yield chunk
        yield answer.last()

    async def _written(self, request: Request, *, stream: bool) -> dict[str, Any]:
        self._service.check_key()
        if not request.reads_files:
            return request.write(stream=stream)
        return await asyncio.to_thread(request.write, stream=stream)

    def _answer(
        self, body: Mapping[str, Any], chosen: CompletionOptions
    ) -> ChatAnswer | ResponsesAnswer:
        kind = ChatAnswer if self._api == "chat" else ResponsesAnswer
        return kind(
            self._sdk,
            self._service.gateway,
            body,
            chosen,
            price=self.options.price or price_of(self._service.gateway.name, self._model),
        )
