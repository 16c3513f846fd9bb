"""Running a blocking engine from asyncio: threads, streams, cancellation.

An `EngineThread` owns one loaded engine: it opens it, runs every call on it, and closes it, all on
threads of its own. A `Job` is one call. What a call emits crosses to the event loop in batches: one
wake-up carries all that is ready, and an engine that runs ahead of its reader is held back.

A finalizer here takes no lock that is ever held while something waits, and nothing belongs to an
event loop for longer than one call: several loops may share one engine, and a loop may close
while an engine still works.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from blazen.errors import BlazenError, InferenceError
from blazen.hardware import release_memory

T = TypeVar("T")
E = TypeVar("E")

BUFFERED_ITEMS = 256
"""How far an engine may run ahead of its reader. Large enough that a batch pays for its wake-up."""

_FORKED = (
    "{name} was loaded in process {pid} and can't be used in its fork: load it after forking, or "
    "use the 'spawn' start method"
)

EXIT_GRACE_SECONDS = 5.0
"""How long the interpreter waits at its end for engines to stop and close."""


class Job:
    """One call on an engine's thread, and the way to stop it."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.future: Future[Any] = Future()
        self._work: Callable[[Any], Any] | None = work
        self._context = contextvars.copy_context()
        self._on_cancel: Callable[[], object] | None = None
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone: an engine that polls should stop as soon as it sees this."""
        return self._cancelled

    def on_cancel(self, stop: Callable[[], object]) -> None:
        """Have a function called when the caller goes; at once, if that has happened already.

        It may run on any thread, even in a finalizer: it must only set something, never wait. When
        the caller goes in the moment that the call ends, it may come a little late: that must do
        no harm to the next call.
        """
        self._on_cancel = stop
        if self._cancelled:
            stop()

    def cancel(self) -> None:
        """Ask the call to stop. One that has not begun never will."""
        self._cancelled = True
        if self.future.cancel() or self.future.done():
            return
        stop = self._on_cancel
        if stop is not None:
            stop()

    def run(self) -> None:
        """Do the work, on the thread that this is called on."""
        work, self._work = self._work, None
        if work is None or not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._context.run(work, self)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the job raises it
            del work
            _clear_frames(error)
            self._on_cancel = None
            self.future.set_exception(error)
        else:
            self._on_cancel = None
            self.future.set_result(result)


class StreamJob(Job, Generic[T]):
    """A call that emits items while it runs."""

    def __init__(self, work: Callable[[Any], None], limit: int = BUFFERED_ITEMS) -> None:
        super().__init__(work)
        self._limit: float = limit
        self._gathers = False
        self._held = False
        self._hear: Callable[[T], object] | None = None
        self._lock = threading.Lock()
        self._items: deque[T] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._gate = threading.Lock()  # a binary semaphore: releasing it is safe in a finalizer
        self._gate.acquire()

    def run(self) -> None:
        """Do the work, then wake the reader a last time."""
        super().run()
        self._wake_reader()

    def emit(self, item: T) -> bool:
        """Hand an item to the reader; ``False`` says that no one reads any more, so stop."""
        self.push(item)
        return self.wait_room()

    def push(self, item: T) -> bool:
        """Hand an item to the reader without waiting; ``False`` says that it is far behind.

        For an engine whose one thread serves many calls: it leaves out this one until `wait_room`,
        on the call's own thread, has come back.
        """
        with self._lock:
            hear = self._hear
            if hear is None:
                self._items.append(item)
        if hear is not None:
            hear(item)
        elif self._reader is not None and not self._gathers:
            self._wake_reader()
        return not self._is_full()

    def wait_room(self) -> bool:
        """Wait until the reader has caught up; ``False`` says that no one reads any more."""
        while self._is_full() and not self._cancelled:
            self._gate.acquire()
        return not self._cancelled

    def divert(self, hear: Callable[[T], object]) -> None:
        """Have each item given to a function as it comes, on the thread that it comes from."""
        while True:
            with self._lock:
                items, self._items = self._items, deque()
                if not items:
                    self._hear = hear
                    return
            for item in items:
                hear(item)
            self._open_gate()

    def hold(self) -> None:
        """Hold the engine back, as when its reader is far behind, until `go_on`."""
        self._held = True

    def go_on(self) -> None:
        """Hold the engine back no longer for what `hold` said."""
        self._held = False
        self._open_gate()

    def cancel(self) -> None:
        """Ask the call to stop, and let it go on from `emit` if it is held there."""
        super().cancel()
        self._open_gate()
        self._wake_reader()

    @property
    def gathers(self) -> bool:
        """Whether its reader wants the whole, and no piece before."""
        return self._gathers

    def release(self) -> None:
        """Hold the engine back no longer: it may run on to its end, read or unread."""
        self._limit = float("inf")
        self.go_on()

    def gather(self) -> None:
        """Wake the reader no more before the end: it wants the whole, and each waking costs."""
        self._gathers = True
        self.release()

    def take(self) -> deque[T]:
        """Take all that is ready."""
        with self._lock:
            items, self._items = self._items, deque()
        if len(items) >= self._limit:
            self._open_gate()
        return items

    async def wait_ready(self) -> None:
        """Wait until there is something to take, or the call has ended."""
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._items and not self._gathers:
                return
            self._reader = reader
        # Whoever ends the job after this look finds the reader and wakes it.
        if not self.future.done():
            await reader

    def _wake_reader(self) -> None:
        # No lock: this runs in finalizers too, and to wake twice does no harm.
        reader, self._reader = self._reader, None
        if reader is None:
            return
        try:
            reader.get_loop().call_soon_threadsafe(_set_done, reader)
        except RuntimeError:  # the reader's loop is closed: no one will ever read on
            self.cancel()

    def _is_full(self) -> bool:
        # The limit decides last: `release`, on another thread, may come in the middle of `hold`.
        return (self._held and self._limit != float("inf")) or len(self._items) >= self._limit

    def _open_gate(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was open
            self._gate.release()


class EngineThread(Generic[E]):
    """The threads of one loaded engine: open it, call it, close it."""

    def __init__(self, name: str, *, close: Callable[[E], object], width: int = 1) -> None:
        """Prepare; nothing runs until `open`.

        ``close`` must not refer to the owner of this object: the engine is closed too when the
        owner is dropped. ``width`` is how many calls may run at once: more than one only for an
        engine that is safe to call from several threads.
        """
        self._state: _State[E] = _State(name, close, width)
        self._finalizer = weakref.finalize(self, self._state.stop)
        self._finalizer.atexit = False  # the exit hook below does it, in order and with a limit
        _live.add(self)

    def open(self, work: Callable[[Job], E]) -> Job:
        """Start the thread with the work that gives the engine."""
        state = self._state

        def task(job: Job) -> None:
            state.engine = work(job)

        job = Job(task)
        state.submit(job)
        return job

    def submit(self, job: Job) -> bool:
        """Queue a job, which finds the engine open when it runs; ``False`` once it is too late."""
        return self._state.submit(job)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._state.stopped

    @property
    def engine(self) -> E:
        """The engine; only for code that runs in a job."""
        engine = self._state.engine
        assert engine is not None, "the engine is open while jobs run"
        return engine

    def stop(self) -> Future[None]:
        """Let the jobs in flight end, close the engine, end the threads."""
        if not self.is_ours:
            raise BlazenError(_FORKED.format(name=self._state.name, pid=self._state.pid))
        self._state.release_streams()
        # Called by itself, a finalizer does nothing once the interpreter's end has begun.
        if self._finalizer.detach():
            self._state.stop()
        _live.discard(self)
        return self._state.closed

    @property
    def is_ours(self) -> bool:
        """Whether the threads live in this process: a fork inherits the object without them."""
        return self._state.pid == os.getpid()

    def cancel_all(self) -> None:
        """Ask every job that is queued or runs to stop."""
        for job in self._state.jobs():
            job.cancel()


class _State(Generic[E]):
    """What the threads share. It must not refer to the `EngineThread`, whose end ends them."""

    def __init__(self, name: str, close: Callable[[E], object], width: int) -> None:
        self.name = name
        self.closed: Future[None] = Future()
        self.engine: E | None = None
        self._close = close
        self._width = width
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._jobs: set[Job] = set()
        self.stopped = False
        self.pid = os.getpid()

    def submit(self, job: Job) -> bool:
        if self.pid != os.getpid():
            raise BlazenError(_FORKED.format(name=self.name, pid=self.pid))
        with self._lock:
            if self.stopped:
                return False
            crowded = len(self._jobs) >= self._width
            waited_for = [other for other in self._jobs if crowded and isinstance(other, StreamJob)]
            self._jobs.add(job)
            self._queue.put(job)
            start = self._threads < min(self._width, len(self._jobs))
            if start:
                self._threads += 1
                number = self._threads
        if start:
            self._start(number, job)
        # Who reads a stream may make this very request before reading on: were the engine held
        # back for that reader, the two would wait for each other.
        for other in waited_for:
            other.release()
        return True

    def _start(self, number: int, job: Job) -> None:
        name = f"blazen:{self.name}:{number}"
        try:
            _Worker(target=self._serve, name=name, daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._threads -= 1
                alone = self._threads == 0
                if alone:
                    self._jobs.discard(job)
            if alone:  # another thread would still take the job
                job.cancel()
                raise BlazenError(f"{self.name}: no thread could be started: {error}") from error

    def jobs(self) -> list[Job]:
        with self._lock:
            return list(self._jobs)

    def release_streams(self) -> None:
        for job in self.jobs():
            if isinstance(job, StreamJob):
                job.release()

    def stop(self) -> None:
        # Runs in finalizers too: a simple queue may be put to there, a lock may not be taken.
        self.stopped = True
        never_opened = self._threads == 0  # asked first: told to stop, the last one ends at once
        self._queue.put(None)
        if never_opened:
            self.closed.set_result(None)

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
            with self._lock:
                self._jobs.discard(job)
            del job
        self._queue.put(None)  # for the next thread
        with self._lock:
            self._threads -= 1
            last = self._threads == 0
        if last:
            self._shut()

    def _shut(self) -> None:
        for job in self.jobs():  # they were queued in the moment of stopping
            job.run()
        if self.engine is None:
            self.closed.set_result(None)
            return
        problem: BaseException | None = None
        try:
            self._close(self.engine)
        except BaseException as error:  # noqa: BLE001 - whoever unloads raises it
            _clear_frames(error)
            problem = error
        # Many engines hold their memory until the last reference goes: this one is it.
        self.engine = None
        release_memory()
        if problem is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(problem)


class _Worker(threading.Thread):
    """A thread of an engine, known as one to the exit hook."""


async def outcome(job: Job) -> Any:
    """Wait for a job's result. When cancelled, stop it and wait until the engine has."""
    try:
        return await wait(job.future)
    except asyncio.CancelledError:
        await stop(job)
        raise


async def stop(job: Job) -> None:
    """Cancel a job and wait until its engine has let go of it.

    To be cancelled a second time gives up waiting.
    """
    job.cancel()
    await settled(job.future)


async def wait(future: Future[T]) -> T:
    """Wait for a thread's result without owning it: to be cancelled here leaves it as it is."""
    await settled(future)
    return future.result()


async def settled(future: Future[Any]) -> None:
    """Wait until a thread is done with something, however it ended."""
    if not future.done():
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_: object) -> None:
            # A closed loop has no one left to tell.
            with contextlib.suppress(RuntimeError):
                woken.get_loop().call_soon_threadsafe(_set_done, woken)

        future.add_done_callback(wake)
        await woken


def on_loop(listener: Callable[[T], object]) -> Callable[[T], None]:
    """Have a listener called on the running loop, whichever thread calls."""
    loop = asyncio.get_running_loop()

    def tell(value: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no one listens any more
            loop.call_soon_threadsafe(listener, value)

    return tell


class StreamReader(Generic[T]):
    """Reads from asyncio what a `StreamJob` emits. Dropping it stops the job."""

    def __init__(self, job: StreamJob[T]) -> None:
        self._job = job
        self._ready: deque[T] = deque()
        self._left = False

    def __aiter__(self) -> StreamReader[T]:
        return self

    async def __anext__(self) -> T:
        if self._ready:
            return self._ready.popleft()
        try:
            if ready := self._job.take():
                # While items are always ready nothing else suspends, and the loop stands still.
                await asyncio.sleep(0)
            while not ready:
                await self._job.wait_ready()
                ended = self._job.future.done()
                ready = self._job.take()
                if ended:
                    break
        except asyncio.CancelledError:
            await stop(self._job)
            raise
        if not ready:
            self._check_end()
            raise StopAsyncIteration
        self._ready = ready
        return ready.popleft()

    async def hand_on(self, hear: Callable[[T], object]) -> None:
        """Give every item to a function, and wait for the end: no item waits for the loop's turn.

        The function is called on the thread that the items come from; it must not wait.
        """
        self._job.divert(hear)
        try:
            await settled(self._job.future)
        except asyncio.CancelledError:
            await stop(self._job)
            raise
        self._check_end()

    def hold(self) -> None:
        """Hold the engine back until `go_on`."""
        self._job.hold()

    def go_on(self) -> None:
        """Hold the engine back no longer."""
        self._job.go_on()

    def gather(self) -> None:
        """Read on only at the end: the whole is wanted, and no piece before."""
        self._job.gather()

    async def aclose(self) -> None:
        """Stop the engine at its next item, and wait until it has."""
        self._left = True
        await stop(self._job)

    def abandon(self) -> None:
        """Stop the engine without waiting; safe anywhere, in a finalizer too."""
        self._left = True
        if not self._job.future.done():
            self._job.cancel()

    def _check_end(self) -> None:
        """Raise what ended the call, where that was not its own end."""
        if not self._job.future.cancelled():
            self._job.future.result()
        if self._job.cancelled and not self._left:
            raise InferenceError("the engine was stopped before its answer was whole")

    def __del__(self) -> None:
        self.abandon()


def _clear_frames(error: BaseException) -> None:
    """Free what the frames of a kept error refer to: the engine would stay as long as the error."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_live: weakref.WeakSet[EngineThread[Any]] = weakref.WeakSet()


@atexit.register
def _close_engines() -> None:
    # Engines must be closed while the interpreter still stands: their own finalizers run too late.
    deadline = time.monotonic() + EXIT_GRACE_SECONDS
    threads = [thread for thread in _live if thread.is_ours]
    for thread in threads:
        with contextlib.suppress(Exception):
            thread.cancel_all()
    for thread in threads:
        with contextlib.suppress(Exception):
            thread.stop()
    # The engines of dropped models close unwatched. A thread that is still freeing one when the
    # interpreter goes is ended within the engine's C++, which aborts the process.
    for worker in threading.enumerate():
        if isinstance(worker, _Worker):
            worker.join(max(0.0, deadline - time.monotonic()))
