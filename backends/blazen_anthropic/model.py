"""`Model` on Anthropic's Messages API, through its own SDK."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from blazen.extras import need
from blazen.options.anthropic import AnthropicOptions
from blazen.options.provider import ProviderOptions
from blazen.protocols.model import Model
from blazen.remote.hosted import HostedBackend
from blazen.remote.keys import key_of
from blazen.remote.prices import price_of
from blazen.remote.sdk import Sdk
from blazen.remote.secret import Secret
from blazen.types.chat import Messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)
from blazen_anthropic.answering import Answer
from blazen_anthropic.request import BACKEND, Request

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

_HOME = "https://api.anthropic.com"
_KEY_VARIABLE = "ANTHROPIC_API_KEY"
_HOME_VARIABLE = "ANTHROPIC_BASE_URL"
_PATH = "/v1/messages"
_SHORT = 4096
"""So many tokens come whole: of a longer answer nothing would be heard for too long."""


class AnthropicProvider(HostedBackend, Model):
    """A chat model of Anthropic.

    Nothing is loaded here. `aclose` closes the connections, and otherwise the end of the event loop
    does.
    """

    Options = AnthropicOptions
    engine = "anthropic"

    def __init__(self, options: ProviderOptions | None = None) -> None:
        self.options = AnthropicOptions.widened(options or AnthropicOptions())
        place = self.options.base_url or os.environ.get(_HOME_VARIABLE, "").strip() or _HOME
        key = Secret.of(self.options.api_key, variable=_KEY_VARIABLE)
        if place == _HOME:
            key = key_of(key, _KEY_VARIABLE, provider=BACKEND)
        self._price = self.options.price or price_of(BACKEND, str(self.options.model))
        self._sdk: Sdk[AsyncAnthropic] = Sdk(
            self.options,
            provider=BACKEND,
            extra=BACKEND,
            # The SDK writes the version of the path itself.
            base_url=place.rstrip("/").removesuffix("/v1"),
            key=key,
            key_header="x-api-key",
            key_prefix="",
            # No method of this: the clients would hold it, and it holds them.
            open=partial(_opened, self.options.version),
        )

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        return self._answer(self._request(messages, options), self._streamed)

    async def complete(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> ModelResponse:
        """Answer in one piece; one that may be long is streamed all the same."""
        request = self._request(messages, options)
        # An answer that came whole does not tell where the arguments of a call were cut.
        short = request.max_tokens <= _SHORT and not request.options.tools
        return await self._answer(request, self._plain if short else self._streamed).collect()

    def _request(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None
    ) -> Request:
        return Request(messages, CompletionOptions.of(options), self.options)

    def _answer(
        self,
        request: Request,
        way: Callable[[Request, Answer], AsyncGenerator[InferenceChunk, None]],
    ) -> InferenceChunkStream:
        pieces = way(request, Answer(time.monotonic(), self._price))
        return InferenceChunkStream(
            InferenceChunkStream.of(pieces, at_once=True).begin, request.options.response_format
        )

    async def _plain(
        self, request: Request, answer: Answer
    ) -> AsyncGenerator[InferenceChunk, None]:
        body = await _written(request)

        async def ask(client: AsyncAnthropic) -> object:
            said = await client.post(_PATH, body=body, cast_to=object)
            if isinstance(said, dict) and (said.get("type") == "error" or said.get("error")):
                raise self._sdk.error_inside(said)
            return said

        said = await self._sdk.call(ask, twice=True)
        for chunk in self._understood(answer.read_whole, said):
            yield chunk

    async def _streamed(
        self, request: Request, answer: Answer
    ) -> AsyncGenerator[InferenceChunk, None]:
        body = await _written(request) | {"stream": True}

        async def ask(client: AsyncAnthropic) -> AsyncIterator[object]:
            from anthropic import AsyncStream

            events: AsyncIterator[object] = await client.post(
                _PATH, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
            return events

        async with aclosing(self._sdk.events(ask, twice=True)) as events:
            async for event in events:
                for chunk in self._understood(answer.read, event):
                    yield chunk
        if not answer.whole:
            raise self._sdk.malformed("the answer breaks off before its 'message_stop'")

    def _understood(
        self, read: Callable[[Any], Iterator[InferenceChunk]], said: object
    ) -> list[InferenceChunk]:
        try:
            return list(read(said))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._sdk.malformed(f"{type(error).__name__}: {error}", error) from error


async def _written(request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(request.write) if request.reads else request.write()


def _opened(version: str, http_client: httpx2.AsyncClient, base_url: str) -> AsyncAnthropic:
    anthropic = need("anthropic", extra=BACKEND, what=f"the {BACKEND!r} backend")
    client: AsyncAnthropic = anthropic.AsyncAnthropic(
        api_key="none",
        base_url=base_url,
        http_client=http_client,
        max_retries=0,
        default_headers={"anthropic-version": version},
        open_telemetry=False,
    )
    return client
