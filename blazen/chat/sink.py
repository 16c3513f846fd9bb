"""Where the parts of an answer go while it is read: they leave as chunks."""

from __future__ import annotations

import secrets
import string

from blazen.chat.cursor import Marks
from blazen.types.completion import FinishReason, InferenceChunk, ToolCallDelta

_ID_LETTERS = string.ascii_letters + string.digits


def new_id() -> str:
    """Make an id for a call: nine letters and digits, the only form that Mistral's models take."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(9))


class Sink:
    """Gathers chunks, and watches for stop texts in the content."""

    def __init__(
        self, stop: tuple[str, ...] = (), *, parallel: bool = True, only_calls: bool = False
    ) -> None:
        self.calls = 0
        self.ended: FinishReason | None = None
        self._parallel = parallel
        self._only_calls = only_calls
        self._stop = stop
        self._partial = Marks(stop).partial if stop else None
        self._held = ""
        self._chunks: list[InferenceChunk] = []

    def content(self, text: str) -> None:
        """Add to the answer's text."""
        # A grammar that lets nothing but calls come was cut within one: its beginning is no text.
        if self.ended is not None or self._only_calls:
            return
        if self._partial is None:
            self._put(text)
            return
        text = self._held + text
        first = self._first_stop(text)
        if first is not None:
            self._held = ""
            self._put(text[:first])
            self.ended = FinishReason.Stop
            return
        safe = self._partial(text)
        self._held = text[safe:]
        self._put(text[:safe])

    def reasoning(self, text: str) -> None:
        """Add to the reasoning."""
        self.flush()
        if text and self.ended is None:
            last = self._chunks[-1] if self._chunks else None
            if last is not None and last.reasoning:
                last.reasoning += text
            else:
                self._chunks.append(InferenceChunk(reasoning=text))

    def call(self, name: str, call_id: str | None = None) -> None:
        """Begin a call."""
        self.flush()
        if self.ended is None:
            self.calls += 1
            self._add(ToolCallDelta(self.calls - 1, call_id or new_id(), name))

    def arguments(self, text: str) -> None:
        """Add to the arguments of the call that was begun last."""
        if text and self.ended is None:
            self._add(ToolCallDelta(self.calls - 1, arguments=text))

    def end_call(self) -> None:
        """Hear that a call is whole."""
        if not self._parallel:
            self.end_calls()

    def end_calls(self) -> None:
        """Hear that the answer ended with the last call."""
        if self.ended is None:
            self.ended = FinishReason.ToolCalls

    def flush(self) -> None:
        """Hand out what was held back: it did not become a stop text."""
        held, self._held = self._held, ""
        if self.ended is None:
            self._put(held)

    def take(self) -> list[InferenceChunk]:
        """Give what has come since the last time."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def _put(self, text: str) -> None:
        if not text:
            return
        last = self._chunks[-1] if self._chunks else None
        if last is not None and last.content:
            last.content += text
        else:
            self._chunks.append(InferenceChunk(text))

    def _add(self, delta: ToolCallDelta) -> None:
        last = self._chunks[-1] if self._chunks else None
        if last is not None and last.tool_calls:
            before = last.tool_calls[-1]
            if before.index == delta.index:
                whole = ToolCallDelta(
                    delta.index, before.id, before.name, before.arguments + delta.arguments
                )
                last.tool_calls = (*last.tool_calls[:-1], whole)
            else:
                last.tool_calls = (*last.tool_calls, delta)
        else:
            self._chunks.append(InferenceChunk(tool_calls=(delta,)))

    def _first_stop(self, text: str) -> int | None:
        # The one that ends first, as if the text came character by character: so it does not
        # matter in what pieces it comes.
        ends = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        return min(ends)[1] if ends else None
