"""From what the Responses API answers, whole or in events, to the chunks of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    TokenLogprob,
    ToolCallDelta,
)
from blazen_openai.answer import Answer

# What our types say of a response, and what only repeats the request.
_TOLD = frozenset(
    {"object", "model", "output", "usage", "error", "status", "instructions", "tools", "text"}
    | {"tool_choice", "temperature", "top_p", "max_output_tokens", "parallel_tool_calls"}
    | {"reasoning", "store", "truncation", "background", "top_logprobs", "metadata"}
)
_NOTHING: tuple[Any, ...] = ()


class ResponsesAnswer(Answer):
    """One answer of the Responses API."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._items: dict[int, dict[str, Any]] = {}
        """The items of the answer, by their place in it."""
        self._calls: dict[int, int] = {}
        """Where each call is in ours, by its place in theirs."""
        self._told: set[int] = set()
        """The calls whose arguments came in pieces."""
        self._summaries: set[tuple[Any, Any]] = set()
        self._reason: FinishReason | None = None

    def whole(self, body: Any) -> Iterator[InferenceChunk]:
        """Read an answer that came in one piece."""
        body = self.checked(body)
        for place, item in enumerate(self.expect(body.get("output"), list, "output")):
            item = self.expect(item, dict, "an item")
            yield self._item(place, item)
        self._finish(body)
        yield self._ended(streamed=False)

    def event(self, event: Any) -> InferenceChunk | None:
        """Read one event of a stream."""
        kind = self.checked(event).get("type")
        if kind == "response.output_text.delta":
            logprobs = event.get("logprobs")
            return self._piece(
                self.expect(event.get("delta"), str, "delta"),
                logprobs=self._likely(logprobs) if logprobs else _NOTHING,
            )
        if kind == "response.function_call_arguments.delta":
            return self._arguments(event)
        if kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            return self._thought(event)
        if kind == "response.refusal.delta":
            return self._piece(self.refused(self.expect(event.get("delta"), str, "delta")))
        if kind in ("response.output_item.added", "response.output_item.done"):
            item = self.expect(event.get("item"), dict, "item")
            place = self.expect(event.get("output_index"), int, "output_index")
            return self._begun(place, item) if kind.endswith("added") else self._done(place, item)
        if kind == "error":
            raise self.sdk.error_inside({"error": event})
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            self._finish(self.expect(event.get("response"), dict, "response"))
        elif not isinstance(kind, str):
            raise self.sdk.malformed(f"an event without a type: {event!r:.80}")
        return None

    def last(self) -> InferenceChunk:
        """Give the chunk that ends a stream; one that was cut is an error."""
        return self._ended(streamed=True)

    def _ended(self, *, streamed: bool) -> InferenceChunk:
        reason = self._reason
        if reason is None:
            raise self.cut()
        output = [item for _, item in sorted(self._items.items())]
        if any(item.get("type") == "reasoning" for item in output):
            self._state["output"] = [_as_input(item) for item in output]
        if self._calls and reason is FinishReason.Stop:
            reason = FinishReason.ToolCalls
        return self.end(reason, streamed=streamed)

    def _finish(self, body: Mapping[str, Any]) -> None:
        """Read what is said of the whole answer."""
        if body.get("error"):
            raise self.sdk.error_inside(body)
        status = body.get("status")
        if status == "incomplete":
            details = self.expect(body.get("incomplete_details") or {}, dict, "incomplete_details")
            cut = details.get("reason") == "content_filter"
            self._reason = FinishReason.ContentFilter if cut else FinishReason.Length
        elif status == "completed":
            self._reason = FinishReason.Stop
        else:
            raise self.sdk.malformed(f"an answer of the status {status!r:.80}")
        if isinstance(body.get("model"), str):
            self.model = body["model"]
        if body.get("usage"):
            self.use(self.expect(body["usage"], dict, "usage"), "input", "output")
        self.keep(body, _TOLD)

    def _piece(
        self,
        content: str | None = None,
        reasoning: str | None = None,
        calls: tuple[ToolCallDelta, ...] = (),
        logprobs: tuple[TokenLogprob, ...] = (),
    ) -> InferenceChunk:
        return self.said(content or None, reasoning or None, calls, logprobs)

    def _item(self, place: int, item: dict[str, Any]) -> InferenceChunk:
        """Read a whole item."""
        self._items[place] = item
        kind = item.get("type")
        if kind == "function_call":
            return self._piece(calls=(self._call(place, item, whole=True),))
        if kind == "reasoning":
            parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
            return self._piece(reasoning="\n\n".join(self._text(part) for part in parts))
        if kind != "message":
            self.keep({"output": [item]}, frozenset())
            return self._piece()
        content, logprobs = "", list[TokenLogprob]()
        for part in self.expect(item.get("content"), list, "content"):
            part = self.expect(part, dict, "a part of content")
            if part.get("type") == "refusal":
                content += self.refused(self.expect(part.get("refusal"), str, "refusal"))
                continue
            content += self._text(part)
            logprobs.extend(self._likely(part.get("logprobs") or ()))
            self.keep({"annotations": part.get("annotations") or None}, frozenset())
        return self._piece(content, logprobs=tuple(logprobs))

    def _begun(self, place: int, item: dict[str, Any]) -> InferenceChunk | None:
        self._items[place] = item
        if item.get("type") != "function_call":
            return None
        return self._piece(calls=(self._call(place, item, whole=False),))

    def _done(self, place: int, item: dict[str, Any]) -> InferenceChunk | None:
        """Keep a finished item, and say what of it did not come in pieces."""
        self._items[place] = item
        kind = item.get("type")
        if kind == "function_call" and place not in self._told:
            new = place not in self._calls
            call = self._call(place, item, whole=True)
            return self._piece(
                calls=(call if new else ToolCallDelta(call.index, arguments=call.arguments),)
            )
        if kind == "message":
            for part in item.get("content") or ():
                if isinstance(part, dict):
                    self.keep({"annotations": part.get("annotations") or None}, frozenset())
        elif kind not in ("function_call", "reasoning"):
            self.keep({"output": [item]}, frozenset())
        return None

    def _call(self, place: int, item: dict[str, Any], *, whole: bool) -> ToolCallDelta:
        index = self._calls.setdefault(place, len(self._calls))
        arguments = item.get("arguments") if whole else ""
        return ToolCallDelta(
            index,
            self.expect(item.get("call_id"), str, "call_id"),
            self.expect(item.get("name"), str, "the name of a call"),
            self.expect(arguments or "", str, "the arguments of a call"),
        )

    def _arguments(self, event: dict[str, Any]) -> InferenceChunk:
        place = self.expect(event.get("output_index"), int, "output_index")
        if place not in self._calls:
            raise self.sdk.malformed(f"arguments of a call that was not begun: {event!r:.80}")
        self._told.add(place)
        delta = self.expect(event.get("delta"), str, "delta")
        return self._piece(calls=(ToolCallDelta(self._calls[place], arguments=delta),))

    def _thought(self, event: dict[str, Any]) -> InferenceChunk:
        text = self.expect(event.get("delta"), str, "delta")
        part = event.get("output_index"), event.get("summary_index")
        if part not in self._summaries:
            text = f"\n\n{text}" if self._summaries else text
            self._summaries.add(part)
        return self._piece(reasoning=text)

    def _text(self, part: Any) -> str:
        text: str = self.expect(
            self.expect(part, dict, "a part of content").get("text"), str, "a text"
        )
        return text

    def _likely(self, logprobs: Any) -> tuple[TokenLogprob, ...]:
        return tuple(self.likely(each) for each in self.expect(logprobs, (list, tuple), "logprobs"))


def _as_input(item: Mapping[str, Any]) -> dict[str, Any]:
    """Give an item as a later request takes it: without what is empty."""
    return {name: value for name, value in item.items() if value is not None}
