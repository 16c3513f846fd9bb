"""A model that is read from and writes nothing: groups of texts in, a few numbers for each out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from blazen.bridge import Job
from blazen.errors import BlazenError, InferenceError, ValidationError
from blazen.hardware import Device
from blazen.options import GgufEmbedOptions, GgufRerankOptions
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.placement import Placement, place_gguf
from blazen.weights.gguf.pooling import too_long
from blazen.weights.gguf_encoders import find_encoder
from blazen.weights.gguf_footprint import gguf_footprint
from blazen_xllamacpp.server import OVERHEAD, Engine, close_server, engine_devices, open_server

R = TypeVar("R")

ROOM = 2048
"""Tokens that a model is loaded for, where it knows so many; a longer text loads it anew."""

TEXTS = 16
"""Texts of one call, at the most, which the engine reads together."""

CHARACTERS = 2000
"""Letters of one call, but for a single text. Between two calls a request can be cancelled."""

_LETTERS = 3  # of a token, in most writing; a text of other letters has more tokens

_TOO_LARGE = re.compile(r"input \((\d+) tokens\) is too large")


@dataclass
class Group(Generic[R]):
    """What one call gave: a row for each text, and how many tokens were read."""

    rows: list[R]
    tokens: int


class Encoder:
    """A loaded model, and how to load it for longer texts."""

    def __init__(self, gguf: GgufFile, placement: Placement, settings: dict[str, Any]) -> None:
        self.gguf = gguf
        self.device: Device = placement.device
        self.limit = 0
        """How many tokens a text may have."""
        self._settings = settings
        self._engine: Engine | None = None
        self._room = 0

    def open(
        self,
        limit: int,
        report: OnProgress = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Load the model."""
        self.limit = limit
        self._load(min(limit, ROOM), report, cancelled)

    def close(self) -> None:
        """Give all memory back."""
        if self._engine is not None:
            close_server(self._engine)
        self._engine = None

    @property
    def server(self) -> Any:
        """What answers."""
        assert self._engine is not None, "it is open while requests run"
        return self._engine.server

    def read(
        self,
        job: Job,
        texts: Sequence[str],
        name: str,
        call: Callable[[Sequence[str]], Group[R]],
    ) -> Group[R]:
        """Call the engine with group after group; a text that is too long is refused, never cut."""
        for index, text in enumerate(texts):
            check_text(f"{name}[{index}]", text)
        if self._engine is None:  # there was no memory for it, when a text was too long
            self._load(min(self.limit, ROOM))
        whole: Group[R] = Group([], 0)
        for start, group in _groups(texts):
            if job.cancelled:
                raise InferenceError("the request was stopped")
            try:
                found = call(group)
            except EngineError:
                # Of several it does not say which one it can't read.
                singles = [
                    self._read_one(f"{name}[{start + place}]", text, call)
                    for place, text in enumerate(group)
                ]
                found = Group([one.rows[0] for one in singles], sum(one.tokens for one in singles))
            whole.rows += found.rows
            whole.tokens += found.tokens
        return whole

    def read_ids(
        self, job: Job, rows: Sequence[Sequence[int]], call: Callable[[Sequence[Any]], Group[R]]
    ) -> Group[R]:
        """Call the engine with one list of token ids after another, which it reads as they are."""
        known = self.gguf.vocab_size
        for index, row in enumerate(rows):
            if not row:
                raise ValidationError(f"rows[{index}] has no tokens: give at least one")
            odd = next((token for token in row if not 0 <= token < known), None)
            if odd is not None:
                raise ValidationError(
                    f"rows[{index}] has the token {odd}, and {self.gguf.path.name} knows those "
                    f"from 0 to {known - 1}"
                )
            if len(row) > self.limit:
                raise too_long(f"rows[{index}]", len(row), self.limit)
        whole: Group[R] = Group([], 0)
        for row in rows:
            if job.cancelled:
                raise InferenceError("the request was stopped")
            if self._engine is None:
                self._load(min(self.limit, ROOM))
            if len(row) > self._room:
                self._make_room(len(row))
            found = call([list(row)])
            whole.rows += found.rows
            whole.tokens += found.tokens
        return whole

    def _read_one(
        self, what: str, text: str, call: Callable[[Sequence[str]], Group[R]]
    ) -> Group[R]:
        try:
            return call([text])
        except EngineError as error:
            tokens = error.too_many
            if tokens is None:
                raise
            if tokens > self.limit:
                raise too_long(what, tokens, self.limit) from error
        self._make_room(tokens)
        return call([text])

    def _make_room(self, tokens: int) -> None:
        """Load the model again, for texts of so many tokens: they can't be read in pieces."""
        before = room = self._room
        while room < tokens:
            room *= 2
        self.close()
        try:
            self._load(min(room, self.limit))
        except BlazenError as error:
            self._load(before)
            raise InferenceError(
                f"there is no memory to read {tokens} tokens in one pass: split the text"
            ) from error

    def _load(
        self,
        room: int,
        report: OnProgress = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        sizes = {"n_ctx": room, "n_batch": room, "n_ubatch": room}
        sizes["n_parallel"] = min(TEXTS, room)  # the engine aborts where a batch has less than that
        self._engine = open_server(
            self.gguf.path,
            {**self._settings, **sizes},
            parts=self.gguf.parts,
            report=report,
            cancelled=cancelled,
        )
        self._room = room


class EngineError(InferenceError):
    """What the engine answered instead of numbers."""

    @property
    def too_many(self) -> int | None:
        """How many tokens the text has, where that is what it said."""
        found = _TOO_LARGE.search(str(self))
        return int(found[1]) if found else None


def open_encoder(
    options: GgufEmbedOptions | GgufRerankOptions,
    job: Job,
    report: OnProgress,
    *,
    take_threads: Callable[[], int],
    prepare: Callable[[GgufFile], str],
) -> Encoder:
    """Fetch and load a model; ``prepare`` checks its header and says how it pools."""
    gguf, pooling, limit = find_encoder(options, job, report, prepare=prepare)
    room = min(limit, ROOM)
    placement = place_gguf(
        gguf,
        device=options.device,
        gpu_layers=options.gpu_layers,
        supported=engine_devices(),
        context_length=room,
        batch=room,
    )
    threads = take_threads()
    settings = {
        "embedding": True,
        "pooling_type": f"LLAMA_POOLING_TYPE_{pooling.upper()}",
        "kv_unified": True,
        "n_gpu_layers": placement.gpu_layers,
        "cpuparams.n_threads": threads,
        "cpuparams_batch.n_threads": threads,
    }
    encoder = Encoder(gguf, placement, settings)
    encoder.open(limit, report, lambda: job.cancelled)
    return encoder


def encoder_footprint(
    options: GgufEmbedOptions | GgufRerankOptions, job: Job, *, prepare: Callable[[GgufFile], str]
) -> Footprint:
    """Say what a model takes for the texts of one call.

    A text longer than it was loaded for has it loaded anew, with more memory from then on.
    """
    gguf, _, limit = find_encoder(options, job, lambda progress: None, prepare=prepare)
    room = min(limit, ROOM)
    return gguf_footprint(
        gguf,
        device=options.device,
        gpu_layers=options.gpu_layers,
        supported=engine_devices(),
        overhead=OVERHEAD,
        reads=min(room, CHARACTERS // _LETTERS),
        context_length=room,
        batch=room,
    )


def check_answer(answer: Any) -> dict[str, Any]:
    """Give the engine's answer, where it is none of an error."""
    if not isinstance(answer, dict) or "error" in answer:
        said = answer.get("error", answer) if isinstance(answer, dict) else answer
        message = said.get("message", said) if isinstance(said, dict) else said
        raise EngineError(f"llama.cpp failed: {message}")
    return answer


def check_text(what: str, text: str) -> None:
    """Refuse what can't be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(f"{what} holds half a character: {error}") from error


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    group: list[str] = []
    letters = 0
    for index, text in enumerate(texts):
        if group and (len(group) == TEXTS or letters + len(text) > CHARACTERS):
            yield index - len(group), group
            group, letters = [], 0
        group.append(text)
        letters += len(text)
    if group:
        yield len(texts) - len(group), group
