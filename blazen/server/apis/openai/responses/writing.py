"""An answer as it is written: its items, and the events that tell of each step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from blazen.server.apis.openai.responses.answer import (
    identifier,
    reason_of,
    response_of,
    usage_of,
)
from blazen.server.apis.openai.responses.asked import ResponseAsked
from blazen.server.apis.openai.telling import likelihoods
from blazen.server.failures import message_of, status_of
from blazen.types.completion import InferenceChunk, ModelResponse, ToolCallDelta

Event = dict[str, Any]


class Writing:
    """One response: `take` a chunk, and send the events that it makes.

    An item is open while pieces of it come. Reasoning, a message and calls follow one another; the
    calls of one answer stay open together, as their pieces may come mixed.
    """

    def __init__(self, body: ResponseAsked, model: str) -> None:
        self.response = response_of(body, model)
        self._number = 0
        self._output: list[dict[str, Any]] = self.response["output"]
        self._open: tuple[int, str, list[str]] | None = None
        """The place of a text that is being written, its kind, and its pieces."""
        self._logprobs: list[dict[str, Any]] = []
        self._calls: dict[int, tuple[int, list[str]]] = {}
        """Of each call that is being written, its place and its arguments."""
        self._unnamed: dict[int, list[ToolCallDelta]] = {}
        """Pieces of calls whose name has not come."""

    def begin(self) -> Iterator[Event]:
        """Tell that the work begins."""
        yield self._told("response.created")
        yield self._told("response.in_progress")

    def take(self, chunk: InferenceChunk) -> Iterator[Event]:
        """Add a piece of the answer."""
        if chunk.reasoning:
            yield from self._add("reasoning", chunk.reasoning, [])
        if chunk.content or chunk.logprobs:
            logprobs = likelihoods(chunk.logprobs)["content"] if chunk.logprobs else []
            yield from self._add("message", chunk.content or "", logprobs)
        for delta in chunk.tool_calls:
            yield from self._call(delta)

    def end(self, answer: ModelResponse) -> Iterator[Event]:
        """Tell that the answer is whole, or why it is not."""
        reason = reason_of(answer.finish_reason)
        if not self._output and reason is None:
            yield from self._add("message", "", [])  # it said nothing, which is an answer too
        yield from self._close("completed" if reason is None else "incomplete")
        status = "completed" if reason is None else "incomplete"
        self.response["status"] = status
        self.response["usage"] = usage_of(answer.usage)
        if reason is None:
            self.response["completed_at"] = int(time.time())
        else:
            self.response["incomplete_details"] = {"reason": reason}
        yield self._told(f"response.{status}")

    def fail(self, error: BaseException) -> Iterator[Event]:
        """Tell that nothing more comes, and why."""
        yield from self._close("incomplete")
        code = "rate_limit_exceeded" if status_of(error) == 429 else "server_error"
        if 400 <= status_of(error) < 429:
            code = "invalid_prompt"
        self.response["status"] = "failed"
        self.response["error"] = {"code": code, "message": message_of(error)}
        yield self._told("response.failed")

    def _add(self, kind: str, text: str, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        if self._open is None or self._open[1] != kind:
            yield from self._close("completed")
            yield from self._start(kind)
        assert self._open is not None
        place, _, pieces = self._open
        if not text:
            self._logprobs += logprobs
            return
        pieces.append(text)
        told: Event = {
            "item_id": self._output[place]["id"],
            "output_index": place,
            "content_index": 0,
            "delta": text,
        }
        if kind == "reasoning":
            yield self._event("response.reasoning_text.delta", told)
        else:
            self._logprobs += logprobs
            yield self._event("response.output_text.delta", {**told, "logprobs": logprobs})

    def _start(self, kind: str) -> Iterator[Event]:
        item: dict[str, Any]
        if kind == "reasoning":
            item = {"id": identifier("rs"), "type": "reasoning", "summary": [], "content": []}
            part: dict[str, Any] = {"type": "reasoning_text", "text": ""}
        else:
            item = {"id": identifier("msg"), "type": "message", "role": "assistant", "content": []}
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        place = self._new(item)
        self._open = place, kind, []
        yield self._added(place)
        told = {"item_id": item["id"], "output_index": place, "content_index": 0, "part": part}
        yield self._event("response.content_part.added", told)

    def _call(self, delta: ToolCallDelta) -> Iterator[Event]:
        if delta.index not in self._calls:
            pieces = [*self._unnamed.pop(delta.index, ()), delta]
            name = "".join(piece.name or "" for piece in pieces)
            if not name:
                self._unnamed[delta.index] = pieces
                return
            if self._open is not None:
                yield from self._close("completed")
            given = next((piece.id for piece in pieces if piece.id), None)
            place = self._new(
                {
                    "id": identifier("fc"),
                    "type": "function_call",
                    "call_id": given or identifier("call"),
                    "name": name,
                    "arguments": "",
                }
            )
            self._calls[delta.index] = place, []
            yield self._added(place)
        else:
            pieces = [delta]
        place, arguments = self._calls[delta.index]
        for piece in pieces:
            if piece.arguments:
                arguments.append(piece.arguments)
                told = {
                    "item_id": self._output[place]["id"],
                    "output_index": place,
                    "delta": piece.arguments,
                }
                yield self._event("response.function_call_arguments.delta", told)

    def _close(self, status: str) -> Iterator[Event]:
        """Finish what is open."""
        if self._open is not None:
            place, kind, pieces = self._open
            self._open = None
            yield from self._end_text(place, kind, "".join(pieces), status)
        for place, pieces in self._calls.values():
            item = self._output[place]
            item["arguments"], item["status"] = "".join(pieces), status
            told = {
                "item_id": item["id"],
                "output_index": place,
                "name": item["name"],
                "arguments": item["arguments"],
            }
            yield self._event("response.function_call_arguments.done", told)
            yield self._done(place)
        self._calls = {}

    def _end_text(self, place: int, kind: str, text: str, status: str) -> Iterator[Event]:
        item = self._output[place]
        told: Event = {"item_id": item["id"], "output_index": place, "content_index": 0}
        part: dict[str, Any]
        if kind == "reasoning":
            part = {"type": "reasoning_text", "text": text}
            yield self._event("response.reasoning_text.done", {**told, "text": text})
        else:
            logprobs, self._logprobs = self._logprobs, []
            part = {
                "type": "output_text",
                "text": text,
                "annotations": [],
                "logprobs": logprobs,
            }
            more = {"text": text, "logprobs": logprobs}
            yield self._event("response.output_text.done", {**told, **more})
        item["content"], item["status"] = [part], status
        yield self._event("response.content_part.done", {**told, "part": part})
        yield self._done(place)

    def _new(self, item: dict[str, Any]) -> int:
        self._output.append({**item, "status": "in_progress"})
        return len(self._output) - 1

    def _added(self, place: int) -> Event:
        told = {"output_index": place, "item": dict(self._output[place])}
        return self._event("response.output_item.added", told)

    def _done(self, place: int) -> Event:
        told = {"output_index": place, "item": dict(self._output[place])}
        return self._event("response.output_item.done", told)

    def _told(self, kind: str) -> Event:
        response = {**self.response, "output": list(self._output)}
        return self._event(kind, {"response": response})

    def _event(self, kind: str, data: Event) -> Event:
        event = {"type": kind, "sequence_number": self._number, **data}
        self._number += 1
        return event
