"""One request: from what was asked to what the engine calls back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blazen.bridge import StreamJob
from blazen.errors import ValidationError
from blazen.types.completion import FinishReason, InferenceChunk
from blazen_xllamacpp.reading import Reader, read_error, read_timing, read_usage
from blazen_xllamacpp.slots import Slots

if TYPE_CHECKING:
    import xllamacpp

log = logging.getLogger("blazen.xllamacpp")

SHORTEST = 32
"""Tokens that a piece of a prompt has at least: each costs a look at all that was read."""


@dataclass
class Work:
    """A request as the engine takes it, and how its answer is read."""

    request: dict[str, Any]
    reader: Reader
    key: str
    """What the prompt begins with: it goes to the slot that has read the same before."""
    parsed: bool = False
    """Whether the engine's chat endpoint answers, with its own template and parser."""
    prompt: Callable[[], str | list[int]] | None = None
    """What the engine will read, where that can be cut into pieces."""


class Answer:
    """What the engine calls back while it answers: ``True`` tells it to stop."""

    def __init__(self, job: StreamJob[InferenceChunk], work: Work, asked: float) -> None:
        self._job = job
        self._work = work
        self._asked = asked
        self._first_token: float | None = None
        self._timings: dict[str, Any] = {}
        self._reason: FinishReason | None = None
        self._failure: Exception | None = None
        self._piece = 0
        self._length = self._cached = 0
        self._reading_ms = 0.0

    def run(self, server: xllamacpp.Server, slots: Slots, piece: int) -> None:
        """Have the engine answer; what others ask meanwhile is not held up by a long prompt."""
        work = self._work
        handle = server.handle_chat_completions if work.parsed else server.handle_completions
        with slots.take(work.key) as slot:
            request = {**work.request, "id_slot": slot}
            self._piece = 0 if slots.alone or work.prompt is None else piece
            self._ask(handle, request)
            if self._length and not self._job.cancelled:
                self._read_in_pieces(server, slots, slot)
                if not self._job.cancelled:
                    self._ask(handle, request)
        if self._job.cancelled:
            return
        if self._reason is None and work.reader.ended is None:
            raise read_error({"message": "the answer had no end", "code": 500})
        self._finish()

    def _ask(self, handle: Any, request: dict[str, Any]) -> None:
        try:
            handle(request, self._on_event)
        except (ValueError, RuntimeError) as error:  # what its template or its JSON reader refuses
            raise ValidationError(f"llama.cpp refused the request: {error}") from error
        if self._failure is not None:
            raise self._failure

    def _on_event(self, event: dict[str, Any] | None) -> bool:
        try:
            return self._read(event)
        except Exception as error:  # noqa: BLE001 - it can't cross the engine; it is raised after
            self._failure = error
            return True

    def _read(self, event: dict[str, Any] | None) -> bool:
        progress = event.get("prompt_progress") if event else None
        if self._first_token is None and not progress:
            self._first_token = time.monotonic() - self._asked
        if event is None:  # a token that nothing can be told of yet
            return self._job.cancelled
        if "error" in event:
            log.info("%s", event["error"].get("message"))
            raise read_error(event["error"])
        self._timings = event.get("timings") or self._timings
        if progress and self._piece and progress["total"] - progress["processed"] > 2 * self._piece:
            self._length, self._cached = progress["total"], progress["cache"]
            return True
        self._piece = 0
        choices = event.get("choices")
        if not choices:
            return self._job.cancelled
        choice = choices[0]
        for chunk in self._work.reader.feed(choice):
            self._job.emit(chunk)
        if choice.get("finish_reason"):
            self._reason = FinishReason(choice["finish_reason"])
        return self._work.reader.ended is not None or self._job.cancelled

    def _finish(self) -> None:
        reader = self._work.reader
        chunks = reader.finish(reader.ended or self._reason or FinishReason.Stop)
        last = chunks[-1]
        if self._length:  # the engine tells of the last piece alone
            whole = self._timings.get("cache_n", 0) + self._timings.get("prompt_n", 0)
            self._timings["cache_n"] = self._cached
            self._timings["prompt_n"] = whole - self._cached
            self._timings["prompt_ms"] = self._timings.get("prompt_ms", 0.0) + self._reading_ms
        last.usage = read_usage(self._timings)
        last.timing = read_timing(self._timings, self._first_token)
        for chunk in chunks:
            self._job.emit(chunk)

    def _read_in_pieces(self, server: xllamacpp.Server, slots: Slots, slot: int) -> None:
        """Have all but the end of a long prompt read before the request itself.

        The engine fills each batch from one prompt until that is read whole, and lets all others
        wait. Between two pieces it takes what the others have.
        """
        assert self._work.prompt is not None
        whole, self._piece = self._piece, 0
        prompt = self._work.prompt()
        known = self._cached
        while not self._job.cancelled:
            # Who writes meanwhile gets a token for each piece: they are short then.
            piece = max(whole // 4, SHORTEST) if slots.others else whole
            if self._length - known <= piece:
                break
            part = prompt[: len(prompt) * (known + piece) // self._length]
            reading = _Reading(self._job)
            request = {"prompt": part, "max_tokens": 1, "id_slot": slot}
            server.handle_completions(
                {**request, "stream": True, "return_progress": True}, reading.on_event
            )
            self._reading_ms += reading.milliseconds
            if reading.cached * 2 < known or reading.read <= known:
                break  # a model that can't go on from what it has read: piece by piece is no gain
            known = reading.read


class _Reading:
    """Hears how far a piece of a prompt has come."""

    def __init__(self, job: StreamJob[InferenceChunk]) -> None:
        self.cached = self.read = 0
        self.milliseconds = 0.0
        self._job = job

    def on_event(self, event: dict[str, Any] | None) -> bool:
        """Take what the engine says; stop it when the caller has gone."""
        if event and (progress := event.get("prompt_progress")):
            self.cached, self.read = progress["cache"], progress["processed"]
            self.milliseconds = progress["time_ms"]
        return self._job.cancelled
