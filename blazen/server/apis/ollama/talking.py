"""One answer of a model, as Ollama's API tells it: its pieces, its end, its times."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from blazen.errors import OutputError, ValidationError
from blazen.server.apis.ollama.keeping import keep
from blazen.server.apis.ollama.names import written
from blazen.server.service import Service
from blazen.types.chat import Messages, ToolCall
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    LikelyToken,
    ModelResponse,
    TokenLogprob,
)

_LOWEST = -9999.0
"""What stands for "next to impossible": JSON has no infinity."""
_CUT = "\ufffd"
_REASONS = {FinishReason.Length: "length", FinishReason.ContentFilter: "content_filter"}


class Talk:
    """An answer that is asked for, and how long it took."""

    def __init__(
        self,
        service: Service,
        id: str,  # noqa: A002 - the manager's word
        name: str,
        given: Messages,
        options: CompletionOptions,
        keep_alive: float | None,
    ) -> None:
        self._manager, self._id, self._keep_alive = service.manager, id, keep_alive
        self._name = name
        keep(self._manager, id, None)
        self._stream = self._manager.complete_stream(id, given, options)
        self._began = time.perf_counter_ns()
        self._load = 0

    @property
    def response(self) -> ModelResponse:
        """The answer so far."""
        return self._stream.response

    async def whole(self) -> ModelResponse:
        """Wait for the whole answer."""
        async with self._stream:
            self._is_loaded()
            try:
                return await self._stream.collect()
            except OutputError:
                if not self._was_cut:
                    raise
        return self.response

    async def pieces(self) -> AsyncIterator[InferenceChunk]:
        """Give the pieces as they come."""
        async with self._stream:
            self._is_loaded()
            try:
                async for chunk in self._stream:
                    yield chunk
            except OutputError:
                if not self._was_cut:
                    raise

    def _is_loaded(self) -> None:
        """Note the time, and how long the model is to stay: not earlier, lest it goes at once."""
        self._load = time.perf_counter_ns() - self._began
        if self._keep_alive is not None:
            keep(self._manager, self._id, self._keep_alive)

    @property
    def _was_cut(self) -> bool:
        """Whether it ended before its shape was whole: ``done_reason`` says so then."""
        return self.response.finish_reason is FinishReason.Length

    def piece(self, **said: Any) -> dict[str, Any]:
        """Write a piece of the answer."""
        return {"model": self._name, "created_at": now(), **said, "done": False}

    def end(self, **said: Any) -> dict[str, Any]:
        """Write the end of the answer, with what it took."""
        answer = self.response
        usage, timing = answer.usage, answer.timing
        reason = _REASONS.get(answer.finish_reason or FinishReason.Stop, "stop")
        times = {
            "total_duration": time.perf_counter_ns() - self._began,
            "load_duration": self._load,
            "prompt_eval_count": usage.prompt_tokens if usage is not None else None,
            "prompt_eval_duration": _nanoseconds(timing.prompt if timing is not None else None),
            "eval_count": usage.completion_tokens if usage is not None else None,
            "eval_duration": _nanoseconds(timing.decode if timing is not None else None),
        }
        told = {name: value for name, value in times.items() if value is not None}
        start = {"model": self._name, "created_at": now()}
        return {**start, **said, "done": True, "done_reason": reason, **told}


def now() -> str:
    """Write the time."""
    return written(time.time())


def likelihoods(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Write how likely tokens were."""
    return [{**_likely(one), "top_logprobs": [_likely(top) for top in one.top]} for one in tokens]


def made_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Write calls; of one that was cut short there are no arguments to give."""
    return [
        {
            "id": call.id,
            "function": {"index": index, "name": call.name, "arguments": _arguments(call)},
        }
        for index, call in enumerate(calls)
    ]


def _arguments(call: ToolCall) -> dict[str, Any]:
    try:
        return call.parsed() if call.arguments.strip() else {}
    except ValidationError:
        return {}


def _likely(token: TokenLogprob | LikelyToken) -> dict[str, Any]:
    data = None if _CUT in token.text else list(token.text.encode("utf-8", "replace"))
    return {"token": token.text, "logprob": max(_LOWEST, token.logprob), "bytes": data}


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)
