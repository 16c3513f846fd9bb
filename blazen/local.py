"""What every backend shares whose engine runs in this process.

A backend says how to open its engine, how to close it, and what a request does with it, all in
plain blocking code; `LocalBackend` brings the lifecycle and the way across to asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

from blazen import bridge, hardware
from blazen.bridge import EngineThread, Job, StreamJob, StreamReader
from blazen.errors import BlazenError, InferenceError, LoadError
from blazen.types.progress import OnProgress, Progress

if TYPE_CHECKING:
    from typing_extensions import Self

    from blazen.types.footprint import Footprint

E = TypeVar("E")
T = TypeVar("T")
J = TypeVar("J", bound=Job)
P = ParamSpec("P")

log = logging.getLogger("blazen")


class LocalBackend(Generic[E]):
    """The lifecycle of one model on this machine. ``E`` is the engine that it loads.

    A subclass overrides `_open` and `_close`, and answers requests with `_call` and `_source`.
    """

    Options: ClassVar[type]
    engine: ClassVar[str | None] = None
    """The module that must be installed; the registry looks for it without importing it."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self._lock = threading.Lock()  # held for a few instructions, never while something runs
        self._loading: _Loading[E] | None = None
        self._unloading: Future[None] | None = None
        self._memory: int | None = None
        self._device = hardware.Device.parse(getattr(options, "device", "cpu"))

    def _open(self, job: Job, report: OnProgress) -> E:
        """Load the engine. Runs on the model's thread; should stop when ``job.cancelled``."""
        raise NotImplementedError

    @staticmethod
    def _close(engine: E) -> None:
        """Give back what the engine holds. Static, since it also runs when the model is dropped."""

    def _footprint(self, job: Job) -> Footprint | None:
        """Say what it will take of each pool, unloaded; ``None`` where that is not known.

        It runs on a thread of its own, may fetch the files, and should stop when ``job.cancelled``.
        """
        return None

    def _width(self) -> int:
        """Say how many requests the engine takes at once."""
        return 1

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        loading = self._loading
        return loading is not None and loading.succeeded

    @property
    def memory_bytes(self) -> int | None:
        """How much this process grew while the model loaded; ``None`` while it is not loaded."""
        return self._memory if self.is_loaded else None

    @property
    def device(self) -> str:
        """Where it runs; before it is loaded, where it was asked to run."""
        return str(self._device)

    async def load(self, *, on_progress: OnProgress | None = None) -> None:
        """Bring the weights into memory, fetching them first where they are not here yet."""
        await self._loaded(on_progress)

    async def unload(self) -> None:
        """Let the requests in flight end, then give the memory back."""
        with self._lock:
            if self._loading is not None:
                self._stop(self._loading)
            unloading = self._unloading
        if unloading is not None:
            await self._unloaded(unloading)
            error = unloading.exception()
            if error is not None:
                raise InferenceError(
                    f"{self._title()} could not be closed: {type(error).__name__}: {error}"
                ) from error

    async def footprint(self) -> Footprint | None:
        """Give what it will take of each pool; ``None`` where that is not known.

        It may fetch the files first, and loads nothing.
        """

        def work(job: Job) -> Footprint | None:
            with _translated(LoadError, f"{self._title()} could not be sized"):
                return self._footprint(job)

        job = Job(work)
        threading.Thread(target=job.run, name=f"blazen:{self._title()}:size", daemon=True).start()
        try:
            found: Footprint | None = await bridge.outcome(job)
        except CancelledError as error:
            raise LoadError(f"{self._title()}: sizing was stopped") from error
        return found

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.unload()

    def __repr__(self) -> str:
        state = "loaded" if self.is_loaded else "not loaded"
        return f"<{type(self).__name__} {self._title()!r} on {self.device}, {state}>"

    def _title(self) -> str:
        """Name the model, for messages and logs."""
        fields = dataclasses.fields(self.options) if dataclasses.is_dataclass(self.options) else ()
        return str(getattr(self.options, fields[0].name)) if fields else type(self).__name__

    async def _call(
        self, work: Callable[Concatenate[E, Job, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run blocking work on the engine, loading it first. To cancel this stops the work."""
        job = await self._submitted(Job, work, *args, **kwargs)
        try:
            result: T = await bridge.outcome(job)
        except CancelledError as error:
            raise InferenceError(f"{self._title()} was stopped while it answered") from error
        return result

    async def _source(
        self,
        work: Callable[Concatenate[E, StreamJob[T], P], None],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> StreamReader[T]:
        """Run blocking work that emits pieces, loading the engine first."""
        return StreamReader(await self._submitted(StreamJob[T], work, *args, **kwargs))

    async def _submitted(
        self,
        kind: Callable[[Callable[[J], Any]], J],
        work: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> J:
        """Queue work for the loaded engine; one that is just unloading is loaded again."""
        while True:
            thread = await self._loaded()

            def task(job: J, thread: EngineThread[E] = thread) -> Any:
                with _translated(InferenceError, self._title()):
                    return work(thread.engine, job, *args, **kwargs)

            job = kind(task)
            if thread.submit(job):
                return job

    async def _loaded(self, on_progress: OnProgress | None = None) -> EngineThread[E]:
        """Give the thread of the loaded engine. All who ask while it loads share one load."""
        while True:
            with self._lock:
                if self._loading is not None and self._loading.thread.is_stopping:
                    self._loading = None  # the interpreter's end closed it
                unloading = self._unloading
                if self._loading is None and unloading is None:
                    self._loading = _Loading(self)
                loading = self._loading
                if loading is not None and loading.succeeded:
                    return loading.thread
                if loading is not None:
                    try:
                        loading.join(on_progress)
                    except BlazenError:  # it could not even begin
                        self._loading = None
                        raise
            if loading is not None:
                await self._finished(loading)
                return loading.thread
            assert unloading is not None
            await self._unloaded(unloading)

    async def _finished(self, loading: _Loading[E]) -> None:
        """Wait for a load that others may share; the last who leaves stops it."""
        try:
            await bridge.wait(loading.job.future)
        except asyncio.CancelledError:
            with self._lock:
                loading.waiters -= 1
                last = loading.waiters == 0 and not loading.succeeded
                closed = self._stop(loading) if last else None
            if closed is not None:
                await bridge.stop(loading.job)
                await self._unloaded(closed)
            raise
        except CancelledError as error:
            raise LoadError(f"{self._title()}: loading was stopped") from error
        except BlazenError:
            with self._lock:
                self._stop(loading)
            raise

    def _stop(self, loading: _Loading[E]) -> Future[None]:
        """Have an engine closed, with the lock held: whoever loads next waits until it is."""
        closed = loading.thread.stop()
        if self._loading is loading:
            self._loading = None
            self._unloading = closed
        return closed

    async def _unloaded(self, closed: Future[None]) -> None:
        """Wait until an engine is closed, well or not: whoever unloaded it hears how."""
        await bridge.settled(closed)
        with self._lock:
            first = self._unloading is closed
            if first:
                self._unloading = None
        if first:
            log.info("unloaded %s", self._title())


@contextlib.contextmanager
def _translated(kind: type[BlazenError], what: str) -> Iterator[None]:
    """Let no engine's exception out as itself: it becomes the cause of one of ours."""
    try:
        yield
    except BlazenError:
        raise
    except BaseException as error:  # engines in Rust panic with one that is no Exception
        raise kind(f"{what}: {type(error).__name__}: {error}") from error


class FixedThreads:
    """The property ``threads`` of a model whose engine settles their number as it loads."""

    options: Any
    _threads: int | None = None

    @property
    def threads(self) -> int:
        """How many threads calculate at once; before it is loaded, how many would."""
        return hardware.thread_budget(self.options.threads) if not self._threads else self._threads

    def _take_threads(self) -> int:
        """Settle the number, for the engine that is now opened."""
        self._threads = hardware.thread_budget(self.options.threads)
        return self._threads


class _Loading(Generic[E]):
    """One load, from its start until the engine is closed."""

    def __init__(self, model: LocalBackend[E]) -> None:
        self.waiters = 0
        self._listeners: list[OnProgress] = []
        self.thread: EngineThread[E] = EngineThread(
            model._title(), close=model._close, width=model._width()
        )

        def work(job: Job) -> E:
            hardware.map_large_blocks()
            before = hardware.rss_bytes()
            with _translated(LoadError, f"{model._title()} could not be loaded"):
                engine = model._open(job, self._report)
            model._memory = max(0, hardware.rss_bytes() - before)
            log.info("loaded %s: memory grew by %d MB", model._title(), model._memory >> 20)
            return engine

        self._work: Callable[[Job], E] | None = work
        self._job: Job | None = None

    def join(self, on_progress: OnProgress | None) -> None:
        """Wait for it with the others; the first one starts it, and misses none of its progress."""
        self.waiters += 1
        if on_progress is not None:
            self._listeners.append(bridge.on_loop(on_progress))
        if self._work is not None:
            # It refers to the model: kept, it would keep a dropped model and its engine alive.
            work, self._work = self._work, None
            self._job = self.thread.open(work)

    @property
    def job(self) -> Job:
        assert self._job is not None, "whoever made it has joined it"
        return self._job

    @property
    def succeeded(self) -> bool:
        if self._job is None:
            return False
        future = self._job.future
        return future.done() and not future.cancelled() and future.exception() is None

    def _report(self, progress: Progress) -> None:
        for listener in self._listeners:
            listener(progress)
