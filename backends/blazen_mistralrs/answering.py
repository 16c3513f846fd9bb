"""From what mistral.rs streams to the chunks of an answer."""

from __future__ import annotations

import time
from typing import Any

from blazen.bridge import StreamJob
from blazen.chat.reader import AnswerReader
from blazen.errors import InferenceError, UnsupportedError
from blazen.types.chat import ChatMessage, Prompt
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
    LikelyToken,
    TokenLogprob,
)
from blazen_mistralrs.engine import Engine, Opening, Start
from blazen_mistralrs.process import words_of
from blazen_mistralrs.request import write_request

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def generate(
    engine: Engine,
    job: StreamJob[InferenceChunk],
    given: Prompt | list[ChatMessage],
    options: CompletionOptions,
    asked: float,
) -> None:
    """Answer a request piece by piece, until it ends or no one reads any more."""
    request = write_request(engine.source, given, options)
    opening = Opening(engine, request, options.max_tokens)
    job.on_cancel(opening.leave)
    try:
        start = opening.begin()
        if start is not None and not job.cancelled:
            _Answer(engine, job, request.plan.reader(), start, asked).run()
    except ValueError as error:
        if type(error) is not ValueError:  # blazen's own are subclasses of it
            raise
        words = words_of(error)
        if words.startswith("Invalid grammar"):
            raise UnsupportedError(
                f"mistral.rs can't follow the response_format: {words}"
            ) from error
        raise InferenceError(f"mistral.rs failed: {words}") from error


class _Answer:
    def __init__(
        self,
        engine: Engine,
        job: StreamJob[InferenceChunk],
        reader: AnswerReader,
        start: Start,
        asked: float,
    ) -> None:
        self._engine = engine
        self._job = job
        self._reader = reader
        self._piece, self._pieces, self._prompt_tokens, self._sent = start
        self._asked = asked
        self._began = time.monotonic()
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def run(self) -> None:
        piece = self._piece
        while True:
            ended = piece.choices[0].finish_reason
            chunks = self._read(piece, ended)
            if ended or self._reader.ended is not None:
                break
            for chunk in chunks:
                self._emit(chunk)
            if self._job.cancelled:
                return
            piece = next(self._pieces)
        # Dropped, an answer that a stop text ended costs the engine nothing more.
        del self._pieces
        reason = FinishReason.Length if ended == "length" else FinishReason.Stop
        chunks += self._reader.finish(reason)
        last = chunks[-1]
        last.usage = self._usage(piece.usage)
        last.timing = self._timing(last.usage.completion_tokens)
        for chunk in chunks:
            self._emit(chunk)

    def _read(self, piece: Any, ended: str | None) -> list[InferenceChunk]:
        choice = piece.choices[0]
        chunks = []
        if choice.logprobs is not None:
            self._logprobs.append(_logprob(choice.logprobs))
        if choice.delta.reasoning_content:
            chunks.append(InferenceChunk(reasoning=choice.delta.reasoning_content))
        text = choice.delta.content or ""
        if ended:
            # Cut within a character, the engine hands out a mark in place of its first bytes.
            text = text.removesuffix(_UNKNOWN)
        if text:
            self._text.append(text)
            chunks += self._reader.feed(text.encode("utf-8", "replace"))
        return chunks

    def _emit(self, chunk: InferenceChunk) -> None:
        if self._logprobs:
            chunk.logprobs, self._logprobs = tuple(self._logprobs), []
        self._job.emit(chunk)

    def _usage(self, usage: Any) -> InferenceUsage:
        if usage is not None:
            return InferenceUsage(usage.prompt_tokens, usage.completion_tokens)
        written = self._engine.runner.tokenize_text("".join(self._text), False, None)
        return InferenceUsage(self._prompt_tokens, max(1, len(written)), estimated=True)

    def _timing(self, tokens: int) -> InferenceTiming:
        decode = time.monotonic() - self._began
        return InferenceTiming(
            first_token=self._began - self._asked,
            prompt=self._began - self._sent,
            decode=decode,
            tokens_per_second=(tokens - 1) / decode if tokens > 1 and decode > 0 else None,
        )


def _logprob(value: Any) -> TokenLogprob:
    top = [LikelyToken(_text(other), other.logprob) for other in value.top_logprobs]
    top.sort(key=lambda other: other.logprob, reverse=True)
    return TokenLogprob(value.token, value.logprob, tuple(top))


def _text(token: Any) -> str:
    return token.bytes if isinstance(token.bytes, str) else ""
