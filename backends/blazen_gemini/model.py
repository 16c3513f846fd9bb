"""Chat by Gemini."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from blazen.errors import BlazenError
from blazen.options.gemini import GeminiOptions
from blazen.options.provider import ProviderOptions
from blazen.protocols.model import Model
from blazen.remote.hosted import HostedBackend
from blazen.types.chat import ChatMessage, Messages, as_messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)
from blazen_gemini.abilities import abilities_of
from blazen_gemini.answering import Answer
from blazen_gemini.asking import ask, listen
from blazen_gemini.client import open_sdk
from blazen_gemini.contents import Contents, has_media, write_contents
from blazen_gemini.prices import answer_cost
from blazen_gemini.request import write_config

_MOST_REQUESTS = 64
"""An answer may be continued by so many: one of a million tokens takes half of them."""


class GeminiProvider(HostedBackend, Model):
    """A model of Gemini, through Google's Gemini API.

    Nothing is loaded here. `aclose` closes the connections, and otherwise the end of the event loop
    does.
    """

    Options = GeminiOptions
    engine = "google.genai"

    def __init__(self, options: ProviderOptions | None = None) -> None:
        self.options = GeminiOptions.widened(options or GeminiOptions())
        self._name = str(self.options.model)
        self._abilities = abilities_of(self._name)
        self._sdk = open_sdk(self.options)

    async def complete(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> ModelResponse:
        """Answer in one piece."""
        return await self._stream(messages, options, whole=True).collect()

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        return self._stream(messages, options, whole=False)

    def _stream(
        self,
        messages: Messages,
        options: CompletionOptions | Mapping[str, Any] | None,
        *,
        whole: bool,
    ) -> InferenceChunkStream:
        chat, chosen = as_messages(messages), CompletionOptions.of(options)
        self._abilities.refuse(self._name, chosen)
        config = write_config(self.options, chosen, self._abilities)
        said = None if has_media(chat) else write_contents(chat, self._abilities)
        pieces = self._chunks(chat, said, config, whole=whole)
        return InferenceChunkStream(
            InferenceChunkStream.of(pieces, at_once=True).begin, chosen.response_format
        )

    async def _chunks(
        self,
        chat: list[ChatMessage],
        said: Contents | None,
        config: dict[str, Any],
        *,
        whole: bool,
    ) -> AsyncGenerator[InferenceChunk, None]:
        answer = Answer(self._name, time.monotonic(), partial(answer_cost, self.options))
        if said is None:  # there are images and sounds, which may have to be read or fetched
            said = await asyncio.to_thread(write_contents, chat, self._abilities)
        config = {**config, "system_instruction": said.system} if said.system else config
        fields: dict[str, Any] = {
            "model": self._name,
            "contents": said.contents,
            "config": config,
        }
        for _ in range(_MOST_REQUESTS):
            async with aclosing(self._responses(fields, whole=whole)) as responses:
                async for response in responses:
                    chunk = answer.read(response)
                    if chunk is not None:
                        yield chunk
            if not answer.go_on():
                break
            fields["config"] = {**config, "continuation_token": answer.continuation}
        if not answer.whole:
            raise self._sdk.malformed("an answer without an end")
        yield answer.end()
        problem: BlazenError | None = answer.problem()
        if problem is not None:
            raise problem

    async def _responses(self, fields: dict[str, Any], *, whole: bool) -> AsyncGenerator[Any, None]:
        if whole:
            yield await ask(self._sdk, "generate_content", _is_empty, fields)
            return
        async with aclosing(listen(self._sdk, "generate_content_stream", fields)) as responses:
            async for response in responses:
                yield response


def _is_empty(response: Any) -> bool:
    return not response.candidates and response.prompt_feedback is None
