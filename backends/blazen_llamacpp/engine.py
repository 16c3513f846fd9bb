"""The engine: one thread that reads and writes for all requests at once, a step at a time."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

from blazen.bridge import Job
from blazen.errors import BlazenError, InferenceError
from blazen.types.completion import FinishReason
from blazen_llamacpp.batch import Batch
from blazen_llamacpp.cache import Cache, Slot
from blazen_llamacpp.library import captured_errors, load_library, words
from blazen_llamacpp.line import Change, Line
from blazen_llamacpp.logprobs import token_logprob
from blazen_llamacpp.request import Request
from blazen_llamacpp.sampling import Candidates
from blazen_llamacpp.schedule import share_reading, shift_of
from blazen_llamacpp.speculation import Drafter, NoDrafts
from blazen_llamacpp.stopping import length_of_text
from blazen_llamacpp.threads import Threads
from blazen_llamacpp.vocabulary import Vocabulary

_NO_ROOM, _ABORTED = 1, 2
_STOP = b"x"
_READING = 8  # a step with fewer tokens of prompts tells nothing of the speed of reading


class Engine:
    """Answers requests, as many at once as the cache has slots; the others wait in line."""

    def __init__(
        self,
        context: Any,
        vocabulary: Vocabulary,
        cache: Cache,
        *,
        name: str,
        batch: int,
        context_length: int,
        threads: Threads,
        context_shift: bool = False,
        drafter: Drafter | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.context_length = context_length
        self._library = load_library()
        self._context = context
        self._cache = cache
        self._size = batch
        self._batch = Batch(batch, len(cache.slots))
        self._candidates = Candidates(vocabulary.size)
        self._drafter = drafter or NoDrafts()
        self._shifts = context_shift
        self._threads = threads
        self._speed = 0.0
        self._line = Line(cache, self._drafter.forget)
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._in_step: Sequence[Job] = ()
        self._abort = ctypes.create_string_buffer(2)  # a text; while it is empty, work goes on
        self._library.llama_set_abort_callback(
            context,
            length_of_text(),
            ctypes.cast(self._abort, ctypes.c_void_p),
        )
        self._thread = threading.Thread(
            target=self._serve, name=f"blazen:{name}:engine", daemon=True
        )
        self._thread.start()

    def answer(self, request: Request) -> None:
        """Have a request answered, and wait for its end. Runs on the thread of its caller."""
        request.job.on_cancel(self._note_cancel)
        self._inbox.put(functools.partial(self._line.enter, request))
        while not request.events.get():
            request.job.wait_room()
            self._inbox.put(functools.partial(setattr, request, "resting", False))
        if request.failure is not None:
            raise request.failure

    def change(self, change: Change) -> None:
        """Have something done when no request is under way; what was cached is forgotten.

        It is left undone where its caller goes before.
        """
        change.job.on_cancel(self._note_cancel)
        self._inbox.put(functools.partial(self._line.enter_change, change))
        change.ended.get()
        if change.failure is not None:
            raise change.failure

    def close(self) -> None:
        """End the thread. No request may be on its way."""
        self._inbox.put(None)
        self._thread.join()
        self._drafter.close()

    def _note_cancel(self) -> None:
        # It may run in a finalizer: it sets and puts, and takes no lock.
        if all(job.cancelled for job in self._in_step):
            self._abort.value = _STOP
        self._inbox.put(_wake)

    def _serve(self) -> None:
        while self._listen():
            self._try_step()

    def _try_step(self) -> None:
        try:
            self._step()
        except Exception as error:  # noqa: BLE001 - whoever waits for an answer raises it
            self._fail_all(error)

    def _listen(self) -> bool:
        """Take the messages that are there, or wait for one; ``False`` is the end."""
        idle = self._is_idle()
        while idle or not self._inbox.empty():
            message = self._inbox.get()
            if message is None:
                return False
            message()
            idle = False
        return True

    def _is_idle(self) -> bool:
        requests = [s.request for s in self._cache.slots if s.request is not None]
        if requests:  # if all of them rest, the next message tells of room
            return all(r.resting and not r.job.cancelled for r in requests)
        return self._line.is_empty

    def _step(self) -> None:
        self._line.drop_cancelled()
        self._line.admit()
        active = [s for s in self._cache.slots if s.request is not None and not s.request.resting]
        if not active:
            return
        parts = self._share_out(active)
        if not self._line.make_room(sum(count + len(drafts) for _, count, drafts in parts)):
            return
        self._batch.clear()
        places = []
        reading = 0
        for slot, count, drafts in parts:
            request, start = _request(slot), len(slot.cells)
            tokens = request.tokens[start : start + count]
            whole = start + count == len(request.tokens)
            reading += count if count > 1 or not whole else 0
            outputs = 1 + len(drafts) if whole else 0
            first = self._batch.add(slot.number, tokens + drafts, start, outputs=outputs)
            places.append(first + count - 1 if whole else None)
        began = time.monotonic()
        if not self._decode([slot for slot, _, _ in parts]):
            return
        for slot, count, _ in parts:
            self._cache.grow(slot, count)
        for (slot, _, drafts), place in zip(parts, places, strict=True):
            if place is not None:
                with self._failing(slot):
                    self._write(slot, place, drafts)
        if reading >= _READING:
            speed = reading / max(time.monotonic() - began, 1e-6)
            self._speed = speed if not self._speed else (self._speed + speed) / 2

    def _share_out(self, active: list[Slot]) -> list[tuple[Slot, int, list[int]]]:
        """Say how many tokens of each request are read, and what is guessed to follow them."""
        pending = [len(_request(slot).tokens) - len(slot.cells) for slot in active]
        ready = [slot for slot, count in zip(active, pending, strict=True) if count == 1]
        drafts = self._drafter.draft(ready, self._draft_room)
        used = len(ready) + sum(map(len, drafts))
        parts = [(slot, 1, draft) for slot, draft in zip(ready, drafts, strict=True)]
        if len(ready) == len(active):
            return parts
        readers = [(s, count) for s, count in zip(active, pending, strict=True) if count > 1]
        given = share_reading(
            [count for _, count in readers], used, batch=self._size, speed=self._speed
        )
        return parts + [(s, n, []) for (s, _), n in zip(readers, given, strict=True) if n]

    def _draft_room(self, slot: Slot) -> int:
        """Say how many tokens a request may still write after the next one."""
        request = _request(slot)
        room = self.context_length - len(request.tokens) - 1
        if request.max_tokens is not None:
            room = min(room, request.max_tokens - request.written - 1)
        slots = len(self._cache.slots)
        return max(0, min(room, self._cache.spare // slots - 1))

    def _decode(self, slots: list[Slot]) -> bool:
        self._in_step = tuple(_request(slot).job for slot in slots)
        self._abort.value = b""
        if all(job.cancelled for job in self._in_step):
            return False
        self._threads.apply(self._context)
        with captured_errors() as errors:
            result = self._batch.decode(self._context)
        self._in_step = ()
        if result == 0:
            return True
        for slot in slots:
            self._cache.roll_back(slot)
        if result == _NO_ROOM:
            self._line.make_room(self._cache.room + 1)
        elif result != _ABORTED:
            raise InferenceError(f"llama.cpp failed with {result}: {words(errors)}")
        return False

    def _write(self, slot: Slot, place: int, drafts: list[int]) -> None:
        """Take the tokens that follow, for as long as they are what was guessed."""
        request, vocabulary = _request(slot), self.vocabulary
        for at in range(len(drafts) + 1):
            token = request.sampler.sample(self._context, place + at, self._candidates)
            likely = None
            if request.logprobs is not None:
                logits = self._candidates.logits(self._context, place + at)
                likely = token_logprob(vocabulary, logits, token, request.logprobs)
            piece, end = vocabulary.piece(token), token in vocabulary.ends
            reason = request.write(token, piece, end=end, likely=likely)
            if reason is not None or at == len(drafts) or token != drafts[at]:
                break
        if drafts:
            # The guesses that came true are read already; of the others nothing may stay.
            self._cache.grow(slot, at)
            self._cache.roll_back(slot)
        if reason is None and len(request.tokens) >= self.context_length:
            reason = self._shift(slot)
        if reason is not None:
            self._cache.release(slot)
            request.finish(reason)
        elif request.resting:
            request.events.put(False)

    def _shift(self, slot: Slot) -> FinishReason | None:
        if not self._shifts:
            return FinishReason.Length
        request = _request(slot)
        start, end = shift_of(len(request.tokens), min(request.prompt_tokens, self._kept))
        self._cache.shift(slot, start, end)
        del request.tokens[start:end]
        self._drafter.forget(slot)
        return None

    @property
    def _kept(self) -> int:
        return self.context_length // 4

    @contextlib.contextmanager
    def _failing(self, slot: Slot) -> Iterator[None]:
        """Let what goes wrong with one request end that one alone."""
        request = _request(slot)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - its caller raises it
            self._cache.forget(slot)
            slot.request = None
            request.fail(error if isinstance(error, BlazenError) else _failure(error))

    def _fail_all(self, error: Exception) -> None:
        for slot in self._cache.slots:
            request, slot.request = slot.request, None
            if request is not None:
                request.fail(_failure(error))
        self._cache.forget_all()


def _request(slot: Slot) -> Request:
    assert slot.request is not None, "only slots in use take part in a step"
    return slot.request


def _failure(error: Exception) -> InferenceError:
    what = str(error) if isinstance(error, BlazenError) else f"{type(error).__name__}: {error}"
    failure = InferenceError(f"the engine failed: {what}")
    failure.__cause__ = error
    return failure


def _wake() -> None:
    """Do nothing: the thread looks around after each message."""
