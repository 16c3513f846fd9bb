"""Who asks for vectors, and which of their texts the engine reads together.

Everyone's texts wait here, cut into tokens and sorted by length. Each pass takes some of like
length: of the caller whose turn it is, and of all others. So small calls that come together share
passes, a small one does not wait for the end of a large one, and no text is filled up to the length
of a long one.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import BlazenError, InferenceError
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors

if TYPE_CHECKING:
    from blazen_fastembed.encoder import Encoder, Piece

WINDOW = 2048
"""How many texts of a call are cut into tokens ahead of the engine."""

_length = attrgetter("length")


class Ask:
    """One call: its texts, and the vectors that it has so far."""

    def __init__(self, texts: Sequence[str], *, query: bool) -> None:
        self.future: Future[EmbeddingResponse] = Future()
        self.query = query
        self.gone = False
        """Whether no one waits for it any more."""
        self.pieces: list[Piece] = []
        self._texts = texts
        self._next = 0
        self._rows: Any = None
        self._split: set[int] = set()
        self._tokens = self._truncated = 0

    def refill(self, encoder: Encoder) -> None:
        """Have texts ready for a pass, where any are left."""
        if self.gone or self.pieces or self._next >= len(self._texts):
            return
        end = self._next + WINDOW
        try:
            read = encoder.read(self._texts[self._next : end], self._next, query=self.query)
        except BaseException as error:  # noqa: BLE001 - this call's alone; Rust panics with such
            self.fail(error)
            return
        self._next = end
        self.pieces = sorted(read.pieces, key=_length)
        self._tokens += read.tokens
        self._truncated += read.truncated
        self._split |= read.split

    def longest(self, at_most: int) -> int:
        """Give the length of the longest text that is ready, within a limit."""
        place = bisect_right(self.pieces, at_most, key=_length)
        return self.pieces[place - 1].length if place else 0

    def take(self, at_least: int, at_most: int) -> Piece | None:
        """Give the longest text within limits, if there is one."""
        place = bisect_right(self.pieces, at_most, key=_length) - 1
        if place < 0 or self.pieces[place].length < at_least:
            return None
        return self.pieces.pop(place)

    def store(self, piece: Piece, vector: Any) -> None:
        """Keep the vector of a text, or of a part of one."""
        try:
            if self._rows is None:
                import numpy

                self._rows = numpy.zeros((len(self._texts), len(vector)), dtype="float32")
            self._rows[piece.place] += piece.share * vector
        except BaseException as error:  # noqa: BLE001 - its vectors may not fit into memory
            self.fail(error)

    def settle(self, encoder: Encoder) -> bool:
        """Give the answer once all is read; ``True`` where nothing is left to do."""
        if self.gone or self.future.done():
            return True
        if self.pieces or self._next < len(self._texts):
            return False
        try:
            self._end(self._answer(encoder))
        except BaseException as error:  # noqa: BLE001 - it is the error of this call alone
            self.fail(error)
        return True

    def _answer(self, encoder: Encoder) -> EmbeddingResponse:
        if self._split and encoder.normalized:
            import numpy

            places = sorted(self._split)
            lengths = numpy.linalg.norm(self._rows[places], axis=1, keepdims=True)
            self._rows[places] /= numpy.maximum(lengths, 1e-12)
        usage = EmbeddingUsage(self._tokens, self._truncated)
        recipe = encoder.recipe(query=self.query)
        return EmbeddingResponse(Vectors.of(self._rows), encoder.title, usage, recipe)

    def fail(self, error: BaseException) -> None:
        """End it with an error that was just caught, unless it has ended."""
        if error.__traceback__ is not None:
            # All frames but the one that caught it have ended: what they hold, the engine too,
            # would stay as long as the error.
            error.__traceback__ = error.__traceback__.tb_next
            traceback.clear_frames(error.__traceback__)
        if not isinstance(error, BlazenError):
            cause = error
            error = InferenceError(f"the engine failed: {type(cause).__name__}: {cause}")
            error.__cause__ = cause
        self._end(error)

    def over(self, job: Future[Any]) -> None:
        """Hear that the engine's thread has let go of the call."""
        error = None if job.cancelled() else job.exception()
        self._end(error or InferenceError("the embedding was stopped"))

    def _end(self, outcome: EmbeddingResponse | BaseException) -> None:
        with contextlib.suppress(InvalidStateError):  # it has ended already
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


class Line:
    """All who wait for one model. Anyone may join or leave; the engine's thread does the rest."""

    def __init__(self) -> None:
        self._fresh: deque[Ask] = deque()
        self._turns: deque[Ask] = deque()
        self._lock = threading.Lock()
        """Held while ``_turns`` changes; the engine's thread holds it as long as it serves."""
        self._some_left = False

    def join(self, ask: Ask) -> None:
        """Wait with the others."""
        self._fresh.append(ask)

    def leave(self, ask: Ask) -> None:
        """Wait no more; the line lets go of the call, though no engine may ever serve it."""
        ask.gone = True
        self._some_left = True
        self._forget()

    @staticmethod
    def serve(encoder: Encoder, job: Job, line: Line, ask: Ask) -> None:
        """Make passes for everyone until one call has its answer."""
        try:
            with line._lock:
                while not ask.future.done():
                    if job.cancelled or ask.gone:
                        raise InferenceError("the embedding was stopped")
                    line._advance(encoder)
        finally:
            line._forget()

    def _forget(self) -> None:
        # Who finds the lock taken need not wait for it: its holder comes here once it is free.
        while self._some_left and self._lock.acquire(blocking=False):
            try:
                self._some_left = False
                self._gather()
                self._turns = deque(ask for ask in self._turns if not ask.gone)
            finally:
                self._lock.release()

    def _gather(self) -> None:
        while self._fresh:
            self._turns.append(self._fresh.popleft())

    def _advance(self, encoder: Encoder) -> None:
        self._gather()
        for ask in self._turns:
            ask.refill(encoder)
        self._leave(encoder)
        if self._turns:
            self._pass(encoder, self._gathered(encoder))
            self._turns.rotate(-1)
            self._leave(encoder)

    def _leave(self, encoder: Encoder) -> None:
        for ask in [ask for ask in self._turns if ask.settle(encoder)]:
            self._turns.remove(ask)

    def _gathered(self, encoder: Encoder) -> list[tuple[Ask, Piece]]:
        """Choose texts of like length: the longest of the first in turn, and what goes with it."""
        first = self._turns[0]
        alike = [ask for ask in self._turns if ask.query == first.query or not encoder.has_tasks]
        longest, filling = first.pieces[-1].length, encoder.limits.filling
        if len(first.pieces) == 1:  # it may as well join one that is a little longer
            longest = max(ask.longest(longest + filling) for ask in alike)
        room = encoder.limits.room(encoder.shape, longest)
        group = [(first, first.pieces.pop())]
        for ask in alike:
            while len(group) < room:
                piece = ask.take(longest - filling, longest)
                if piece is None:
                    break
                group.append((ask, piece))
        return group

    def _pass(self, encoder: Encoder, group: list[tuple[Ask, Piece]]) -> None:
        asks = {ask for ask, _ in group}
        try:
            vectors = encoder.vectors([piece for _, piece in group], query=group[0][0].query)
        except BaseException as error:  # noqa: BLE001 - of those in this pass; Rust panics so
            if len(asks) == 1:
                group[0][0].fail(error)
                return
            for one in asks:  # whose text it was is found out by reading each by itself
                self._pass(encoder, [(ask, piece) for ask, piece in group if ask is one])
            return
        for (ask, piece), vector in zip(group, vectors, strict=True):
            ask.store(piece, vector)
