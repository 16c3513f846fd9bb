"""Echo backends for text: a chat model that says what it hears, and vectors of letters."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from blazen.bridge import Job, StreamJob
from blazen.checks import unknown_name
from blazen.errors import UnsupportedError, ValidationError
from blazen.protocols.embedding import EmbeddingModel
from blazen.protocols.model import Model
from blazen.testing.echo_engine import EchoBackend, EchoEngine
from blazen.types.chat import ChatMessage, Messages, Role, as_messages
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    InferenceUsage,
    ToolCallDelta,
)
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors, as_texts

DIMENSIONS = 64

_REFUSED = {
    "response_format": "what it says is what it heard",
    "logprobs": "it is always certain",
    "reasoning": "it does not think",
}


class EchoModel(EchoBackend, Model):
    """A chat model that says again what the last message said, a word at a time.

    With ``tool_choice`` set to ``required`` or a name it calls that tool instead, with the text
    where the tool's schema leaves it free.
    """

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Say it again, a word a piece."""
        chat, chosen = as_messages(messages), CompletionOptions.of(options)
        chosen.refuse("echo", _REFUSED)
        if not all(isinstance(part, str) for message in chat for part in message.parts):
            raise UnsupportedError("the echo model reads text only: leave images and audio out")
        prompt_tokens = sum(len(_words(message.text)) for message in chat)
        pieces = self._answer(chat, chosen, max(1, prompt_tokens))
        return InferenceChunkStream(lambda: self._source(_speak, pieces))

    def _answer(
        self, chat: list[ChatMessage], options: CompletionOptions, prompt_tokens: int
    ) -> list[InferenceChunk]:
        text = chat[-1].text
        if (call := _tool_call(text, chat, options)) is not None:
            usage = InferenceUsage(prompt_tokens, 1)
            return [
                InferenceChunk(tool_calls=(call,)),
                InferenceChunk(finish_reason=FinishReason.ToolCalls, usage=usage),
            ]
        text = " ".join([text] * self.options.repeat)
        ends = [text.find(stop) for stop in options.stop if stop in text]
        words = _words(text[: min(ends)] if ends else text)
        said = words[: options.max_tokens]
        reason = FinishReason.Stop if len(said) == len(words) else FinishReason.Length
        usage = InferenceUsage(prompt_tokens, len(said))
        return [
            *(InferenceChunk(content=word) for word in said),
            InferenceChunk(finish_reason=reason, usage=usage),
        ]


class EchoEmbedding(EchoBackend, EmbeddingModel):
    """Vectors that count letters: texts of the same letters are near each other."""

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Count the letters of each text."""
        return await self._call(_count, as_texts(texts), self.options.name)


def _speak(
    engine: EchoEngine, job: StreamJob[InferenceChunk], pieces: list[InferenceChunk]
) -> None:
    for piece in engine.work(job, pieces):
        job.emit(piece)


def _count(engine: EchoEngine, job: Job, texts: list[str], name: str) -> EmbeddingResponse:
    rows = list(engine.work(job, map(_letters, texts)))
    tokens = sum(max(1, len(_words(text))) for text in texts)
    return EmbeddingResponse(Vectors.of(rows), name, EmbeddingUsage(tokens))


def _letters(text: str) -> list[float]:
    counts = Counter(ord(letter) % (DIMENSIONS - 1) for letter in text)
    # The last number is never 0, so that the empty text has a direction too.
    row = [*(float(counts[place]) for place in range(DIMENSIONS - 1)), 1.0]
    length = math.sqrt(sum(number * number for number in row))
    return [number / length for number in row]


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def _tool_call(
    text: str, chat: list[ChatMessage], options: CompletionOptions
) -> ToolCallDelta | None:
    if options.tool_choice in ("auto", "none") or chat[-1].role is Role.Tool:
        return None
    tools = {tool.name: tool for tool in options.tools}
    name = next(iter(tools), "") if options.tool_choice == "required" else options.tool_choice
    if name not in tools:
        raise ValidationError(unknown_name("tool", name, list(tools)))
    wanted = (tools[name].parameters or {}).get("properties", {"text": {}})
    arguments = {key: (schema.get("enum") or [text])[0] for key, schema in wanted.items()}
    return ToolCallDelta(0, "echo-0", name, json.dumps(arguments))
