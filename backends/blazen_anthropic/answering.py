"""From the events of an answer to its chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from blazen.remote.prices import Price
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceTiming,
    InferenceUsage,
    ToolCallDelta,
)
from blazen_anthropic.cost import cost_of
from blazen_anthropic.messages import STATE

_REASONS = {
    "end_turn": FinishReason.Stop,
    "stop_sequence": FinishReason.Stop,
    "tool_use": FinishReason.ToolCalls,
    "max_tokens": FinishReason.Length,
    "model_context_window_exceeded": FinishReason.Length,
    "refusal": FinishReason.ContentFilter,
    # The API's own tools took long: what came is not whole, and goes on when it is sent back.
    "pause_turn": FinishReason.Length,
}
_CUT = (FinishReason.Length, FinishReason.ContentFilter)
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class Answer:
    """An answer as it comes: the blocks of it, and why it ended."""

    def __init__(self, asked: float, price: Price | None) -> None:
        self.whole = False
        """Whether its end has come."""
        self._asked = asked
        self._price = price
        self._first: float | None = None
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}
        self._calls: dict[int, int] = {}

    def read(self, event: dict[str, Any]) -> Iterator[InferenceChunk]:
        """Give what an event says; one that is not of its shape raises whatever it does."""
        kind = event["type"]
        if kind == "content_block_delta":
            yield from self._delta(event["index"], event["delta"])
        elif kind == "content_block_start":
            yield from self._begin(event["index"], event["content_block"])
        elif kind == "message_start":
            self._keep(event["message"])
        elif kind == "message_delta":
            self._keep({**event, **event["delta"]})
        elif kind == "message_stop":
            yield self._end()

    def read_whole(self, message: dict[str, Any]) -> Iterator[InferenceChunk]:
        """Give what an answer says that came in one piece."""
        if message["type"] != "message":
            raise ValueError(f"this is no message, but {message['type']!r:.40}")
        self._keep(message)
        for index, block in enumerate(message["content"]):
            yield from self._begin(index, block)
        yield self._end()

    def _keep(self, fields: dict[str, Any]) -> None:
        # The counts are of the message so far, and not of what came since: later ones replace.
        usage = _object(fields.get("usage") or {})
        self._usage.update({key: value for key, value in usage.items() if value is not None})
        beside = ("content", "usage", "role", "type", "delta")
        self._message.update({k: v for k, v in fields.items() if k not in beside})

    def _begin(self, index: int, block: dict[str, Any]) -> Iterator[InferenceChunk]:
        kind = block["type"]
        self._blocks[int(index)] = kept = {k: v for k, v in block.items() if v is not None}
        if kind == "text":
            yield from self._say(content=_text(block["text"]))
        elif kind == "thinking":
            kept.setdefault("signature", "")
            yield from self._say(reasoning=_text(block["thinking"]))
        elif kind == "tool_use":
            call = self._calls[index] = len(self._calls)
            name, known_as = _text(block["name"]), _text(block["id"])
            given = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
            delta = ToolCallDelta(call, known_as, name, given)
            yield from self._say(tool_calls=(delta,))

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[InferenceChunk]:
        block, kind = self._blocks[index], delta["type"]
        if kind == "input_json_delta":
            piece = _text(delta["partial_json"])
            self._inputs.setdefault(index, []).append(piece)
            if piece and index in self._calls:
                call = ToolCallDelta(self._calls[index], arguments=piece)
                yield from self._say(tool_calls=(call,))
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind in _TEXTS:
            name = _TEXTS[kind]
            piece = _text(delta[name])
            block[name] = _text(block.get(name, "")) + piece
            if kind == "text_delta":
                yield from self._say(content=piece)
            elif kind == "thinking_delta":
                yield from self._say(reasoning=piece)

    def _say(
        self,
        content: str | None = None,
        reasoning: str | None = None,
        tool_calls: tuple[ToolCallDelta, ...] = (),
    ) -> Iterator[InferenceChunk]:
        if content or reasoning or tool_calls:
            if self._first is None:
                self._first = time.monotonic()
            yield InferenceChunk(content or None, reasoning or None, tool_calls)

    def _end(self) -> InferenceChunk:
        self.whole = True
        told = self._message.get("stop_reason")
        reason = _REASONS.get(told, FinishReason.Stop) if isinstance(told, str) else None
        if reason is None:
            raise ValueError("the answer does not say why it ended")
        return InferenceChunk(
            tool_calls=tuple(self._empty_inputs(reason)),
            finish_reason=reason,
            usage=self._counted(),
            timing=self._timed(),
            raw=self._beyond(),
            model=_text(self._message.get("model", "")) or None,
            state=self._state(),
        )

    def _empty_inputs(self, reason: FinishReason) -> Iterator[ToolCallDelta]:
        """Write the empty inputs, of which nothing was sent; one that was cut stays as it is."""
        last = max(self._blocks, default=-1)
        for index, call in self._calls.items():
            said = self._blocks[index]["input"] or "".join(self._inputs.get(index, ()))
            if not said and not (reason in _CUT and index == last):
                self._inputs[index] = ["{}"]
                yield ToolCallDelta(call, arguments="{}")

    def _counted(self) -> InferenceUsage:
        usage = self._usage
        read = _count(usage.get("cache_read_input_tokens", 0))
        written = _count(usage.get("cache_creation_input_tokens", 0))
        details = _object(usage.get("output_tokens_details", {}))
        # What was kept, or is kept from now on, is not in input_tokens.
        prompt = _count(usage["input_tokens"]) + read + written
        return InferenceUsage(
            prompt,
            _count(usage["output_tokens"]),
            cached_tokens=read,
            reasoning_tokens=_count(details.get("thinking_tokens", 0)),
            cost=cost_of(self._price, usage, prompt=prompt),
        )

    def _timed(self) -> InferenceTiming:
        now = time.monotonic()
        first = self._first or now
        return InferenceTiming(first_token=first - self._asked, decode=now - first)

    def _beyond(self) -> dict[str, Any]:
        """Give what has no place of its own elsewhere."""
        raw = {key: value for key, value in self._message.items() if value is not None}
        raw.pop("model", None)
        raw["usage"] = self._usage
        ours = ("text", "thinking", "tool_use")
        others = [block for _, block in sorted(self._whole()) if block["type"] not in ours]
        cited = [cite for _, block in self._whole() for cite in block.get("citations") or ()]
        if others:
            raw["content"] = others
        if cited:
            raw["citations"] = cited
        return raw

    def _state(self) -> dict[str, Any] | None:
        """Give the blocks for the next request, where a message's own fields don't hold them."""
        blocks = [block for _, block in sorted(self._whole(), key=lambda one: one[0])]
        if all(_is_plain(block) for block in blocks):
            return None
        return {STATE: [block for block in blocks if block != {"type": "text", "text": ""}]}

    def _whole(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, block in self._blocks.items():
            pieces = "".join(self._inputs.get(index, ()))
            if block["type"] == "tool_use" and pieces:
                yield index, {**block, "input": {}}  # a message's own call holds it, cut or whole
            elif pieces:
                yield index, {**block, "input": _input(pieces)}
            else:
                yield index, block


_PLAIN = {"text": {"type", "text"}, "tool_use": {"type", "id", "name", "input"}}


def _is_plain(block: Mapping[str, Any]) -> bool:
    return set(block) <= _PLAIN.get(block["type"], set())


def _input(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # it was cut


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {value!r:.40}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"expected a number of tokens, not {value!r:.40}")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {value!r:.40}")
    return value
