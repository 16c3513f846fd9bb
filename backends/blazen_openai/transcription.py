"""Transcription by OpenAI, and by gateways that speak its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from blazen.options.openai import OpenAiTranscriptionOptions
from blazen.protocols.transcription import Transcription
from blazen.types.audio import Audio
from blazen.types.transcription import (
    TranscriptionChunk,
    TranscriptionRequest,
    TranscriptionStream,
    as_request,
)
from blazen_openai.asking import checked
from blazen_openai.hearing import form_of, hearing_of
from blazen_openai.hosted import OpenAiModel
from blazen_openai.sounds import file_of
from blazen_openai.transcripts import Transcript

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAiTranscription(OpenAiModel, Transcription):
    """A model of OpenAI that writes down what is said, or of a gateway that speaks its API."""

    Options = OpenAiTranscriptionOptions
    options: OpenAiTranscriptionOptions
    _kind = "transcription"
    _usual = "gpt-transcribe"

    def transcribe_stream(self, request: TranscriptionRequest | Any) -> TranscriptionStream:
        """Give the transcript piece by piece, or at once where the model does not stream."""
        asked = as_request(request)
        form = form_of(self._model, asked, self.options.language)
        return TranscriptionStream.of(self._pieces(asked, form), at_once=True)

    async def _pieces(
        self, asked: TranscriptionRequest, form: dict[str, Any]
    ) -> AsyncGenerator[TranscriptionChunk, None]:
        assert isinstance(asked.audio, Audio)
        file, seconds = await asyncio.to_thread(file_of, asked.audio)
        form = {"file": file, "model": self._model, **form}
        transcript = Transcript(self._sdk, seconds)
        if asked.translate or not hearing_of(self._model).streams:
            answer = await self._whole(form, translate=asked.translate)
            for chunk in transcript.whole(answer):
                yield chunk
            return
        begin = partial(self._begun, form=form)
        async with aclosing(self._sdk.events(begin, twice=True)) as events:
            async for event in events:
                for chunk in transcript.add(event):
                    yield chunk
        transcript.expect_end()

    async def _whole(self, form: dict[str, Any], *, translate: bool) -> Any:
        async def ask(client: AsyncOpenAI) -> Any:
            if translate:
                return checked(self._sdk, await self._translated(client, form))
            hear: Any = client.audio.transcriptions.create
            return checked(self._sdk, await hear(**form, extra_body=self._extra()))

        return await self._sdk.call(ask, twice=True)

    async def _begun(self, client: AsyncOpenAI, form: dict[str, Any]) -> AsyncIterator[Any]:
        hear: Any = client.audio.transcriptions.create
        events: AsyncIterator[Any] = await hear(**form, stream=True, extra_body=self._extra())
        return events

    async def _translated(self, client: AsyncOpenAI, form: dict[str, Any]) -> Any:
        from openai.types.audio import TranslationVerbose

        # The SDK's own method warns with each call that translations come to an end.
        fields = dict(form)
        files = {"file": fields.pop("file")}
        return await client.post(
            "/audio/translations",
            cast_to=TranslationVerbose,
            body={**fields, **(self._extra() or {})},
            files=files,
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
