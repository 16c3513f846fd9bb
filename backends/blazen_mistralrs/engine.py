"""A loaded model, and how a prompt gets into it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple

from blazen.errors import ContextLengthError, UnsupportedError, ValidationError
from blazen_mistralrs.process import Workers
from blazen_mistralrs.request import Request
from blazen_mistralrs.sources import Source


@dataclass
class Engine:
    """A loaded model."""

    runner: Any
    """The engine's own object, a ``mistralrs.Runner``."""
    source: Source
    context: int
    """Tokens that a prompt and its answer may have."""
    workers: Workers
    prompts: threading.Lock = field(default_factory=threading.Lock)
    """Two prompts that are read in one go fail on a CPU, so one is read after the other."""
    reading: set[Opening] = field(default_factory=set)

    def close(self) -> None:
        """Let the engine go once it has read the prompts that it is at, and free its memory."""
        for opening in list(self.reading):
            opening.join()
        del self.runner
        self.workers.wait_for_end()


class Start(NamedTuple):
    """An answer that has begun."""

    first: Any
    pieces: Iterator[Any]
    tokens: int
    sent: float


class Opening(threading.Thread):
    """Reads a prompt, up to the first piece of the answer.

    The engine can't be interrupted while it reads: whoever leaves meanwhile leaves this thread
    behind, which drops the answer as soon as it begins. Dropped, the engine stops it.
    """

    def __init__(self, engine: Engine, request: Request, limit: int | None) -> None:
        super().__init__(name="blazen:mistralrs:prompt", daemon=True)
        self._engine = engine
        self._request = request
        self._limit = limit
        self._left = False
        self._outcome: SimpleQueue[Start | BaseException | None] = SimpleQueue()

    def begin(self) -> Start | None:
        """Start, and wait for the answer's first piece; ``None`` if `leave` comes before it."""
        self._engine.reading.add(self)
        try:
            self.start()
        except RuntimeError:  # there is no thread to be had, and none to wait for at the end
            self._engine.reading.discard(self)
            raise
        outcome = self._outcome.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def leave(self) -> None:
        """Wait no longer. Takes no lock: finalizers may call it."""
        self._left = True
        self._outcome.put(None)

    def run(self) -> None:
        """Read the prompt, when it is its turn."""
        try:
            with self._engine.prompts:
                if not self._left:
                    start = self._read()
                    if not self._left:
                        self._outcome.put(start)
                    del start
        except BaseException as error:  # noqa: BLE001 - whoever waits for the answer raises it
            self._outcome.put(error)
        finally:
            self._engine.reading.discard(self)

    def _read(self) -> Start:
        import mistralrs

        engine, request = self._engine, self._request
        text, tokens = fit_prompt(engine, request)
        room = engine.context - tokens
        if room < 1:
            raise ContextLengthError(
                f"the prompt has {tokens} tokens and the context holds {engine.context}, the "
                "answer included: shorten it, or load the model with a larger context_length",
                tokens=tokens,
                limit=engine.context,
            )
        pieces = iter(
            engine.runner.send_chat_completion_request(
                mistralrs.ChatCompletionRequest(
                    messages=request.messages or [{"role": "user", "content": text}],
                    model="default",
                    stream=True,
                    max_tokens=room if self._limit is None else min(self._limit, room),
                    **request.fields,
                )
            )
        )
        sent = time.monotonic()
        return Start(next(pieces), pieces, tokens, sent)


def fit_prompt(engine: Engine, request: Request) -> tuple[str, int]:
    """Give the text of a prompt, and how many tokens the engine will read.

    The engine puts a BOS in front of some texts by itself: there must be exactly the one that the
    model wants, whether the template writes it or not.
    """
    source, tokenize = engine.source, engine.runner.tokenize_text
    text = request.plan.prompt
    if request.tokens:
        text = engine.runner.detokenize_text(list(request.tokens), False)
    if not text:
        raise ValidationError("the prompt is empty, and this model needs something to go on from")
    ids = tokenize(text, True, None)
    if source.bos_id is not None:
        if ids[:2] == [source.bos_id] * 2 and text.startswith(source.bos):
            text = text[len(source.bos) :]
            ids = tokenize(text, True, None)
        elif source.adds_bos and ids[:1] != [source.bos_id] and not request.tokens:
            text = source.bos + text
            ids = tokenize(text, True, None)
    if request.tokens and ids != list(request.tokens):
        raise UnsupportedError(
            "mistral.rs takes a prompt as text, and the text of these tokens has other tokens: "
            "give the Prompt as text"
        )
    return text, len(ids)
