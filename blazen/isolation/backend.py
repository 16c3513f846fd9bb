"""The lifecycle of a model whose engine is a worker process."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pickle
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar

from blazen import hardware
from blazen.bridge import EngineThread, Job
from blazen.errors import BackendCrashedError, LoadError
from blazen.isolation.orders import Begin, levels_here
from blazen.isolation.pools import outer_device, with_process
from blazen.isolation.requests import Given, ask, stream, tell
from blazen.isolation.restarts import Restarts
from blazen.isolation.spares import Spare, keep, prepare, take_spare
from blazen.isolation.worker import Worker, rss_of
from blazen.local import LocalBackend
from blazen.options.isolation import Isolation
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress

LIFECYCLE = frozenset(
    {
        *("load", "unload", "is_loaded", "memory_bytes", "device", "footprint", "on_lost"),
        *("Options", "engine"),
    }
)
"""The public names that are this side's own."""
_CANCELLED = "that was cancelled"
_REQUESTS = 64
"""How many requests go at once to a model that does not say how many it takes."""


class IsolatedBackend(LocalBackend[Worker]):
    """The lifecycle of a model whose engine is a worker process.

    `isolated_class` makes a subclass for each backend, with its public methods.
    """

    inside: ClassVar[type]
    """The class of the model in the worker process."""
    _properties: ClassVar[tuple[str, ...]]
    """Its properties' names."""

    def __init__(self, options: Any, isolation: Isolation) -> None:
        super().__init__(options)
        self._isolation = isolation
        self._here = self.inside(options)  # never loaded: it checks, and says what needs no engine
        self._path = f"{self.inside.__module__}:{self.inside.__qualname__}"
        self._restarts = Restarts(isolation.restarts)
        self._facts: dict[str, Any] = {}
        self._worker: Worker | None = None
        self._stopped = threading.Event()
        """Set when the load that goes on is not to be waited for any more."""
        self._watched = False
        self._watch: Callable[[], object] = _watch_nothing
        self._told: dict[str, tuple[Any, Any]] = {}
        """What it was told last, by the name of the method: each new process hears it too."""
        self._listeners: dict[object, Callable[[BackendCrashedError], object]] = {}

    @property
    def isolation(self) -> Isolation:
        """The settings of its process."""
        return self._isolation

    @property
    def pid(self) -> int | None:
        """The number of its process; ``None`` while it is not loaded."""
        worker = self._running()
        return None if worker is None else worker.pid

    @property
    def memory_bytes(self) -> int | None:
        """How much its process holds; ``None`` while it is not loaded."""
        worker = self._running()
        return None if worker is None else rss_of(worker.pid)

    @property
    def device(self) -> str:
        """Where it runs; before it is loaded, where it was asked to run."""
        return outer_device(str(self._fact("device")), self._isolation.gpus)

    async def footprint(self) -> Footprint | None:
        """Give what it and its process will take of each pool; ``None`` where that is not known.

        A process tells, the model's own or one that is started for it: to know its devices an
        engine has to be imported, which this process is to be spared.
        """
        if not hasattr(self.inside, "footprint"):
            return None
        found = await super().footprint()
        return None if found is None else with_process(found, self._isolation.gpus)

    def on_lost(self, listener: Callable[[BackendCrashedError], object]) -> Callable[[], object]:
        """Have a function called, on any thread, when its process ends unasked.

        It must not wait. Requests fail after it has returned. The result ends the calling.
        """
        key = object()
        self._listeners[key] = listener
        return functools.partial(self._listeners.pop, key, None)

    def __getattr__(self, name: str) -> Any:
        # What a backend sets as it is made is a part of it, as its properties are.
        if name.startswith("_") or "_here" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._fact(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.inside, self.options, self._isolation)

    def _title(self) -> str:
        title = getattr(self._here, "_title", None) if hasattr(self, "_here") else None
        return str(title()) if title is not None else super()._title()

    def _width(self) -> int:
        width = getattr(self._here, "_width", None)
        return int(width()) if width is not None else _REQUESTS

    async def _asked(self, name: str, given: Given) -> Any:
        feeding = given.take_sound()
        try:
            answer = await self._call(ask, name, given.args, given.kwargs, feeding)
        finally:
            if feeding is not None:
                feeding.stop()
        return given.read(answer)

    async def _loaded(self, on_progress: OnProgress | None = None) -> EngineThread[Worker]:
        if on_progress is not None and not self.is_loaded:
            self._watched = True
            self._watch()
        return await super()._loaded(on_progress)

    def _open(self, job: Job, report: OnProgress) -> Worker:
        stopped = self._stopped = threading.Event()
        with self._lock:
            if self._loading is None:  # it was unloaded before this began
                stopped.set()
        self._restarts.wait(self._title(), job, stopped)
        order = self._order()
        worker = self._process(job)
        worker.worked = self._restarts.worked
        worker.used = functools.partial(prepare, self._isolation, self._path, order.options)
        worker.lost.add_done_callback(functools.partial(_lost, weakref.ref(self), worker, job))
        try:
            loading = worker.begin(
                "load",
                order,
                hardware.engines_sharing(),
                self._names(),
                heard=lambda kind, made: report(made),
            )
            self._watch = functools.partial(worker.steer, "watch", loading)
            if self._watched and not order.watched:
                self._watch()
            self._facts = loading.future.result()
        except BaseException:
            worker.dismiss("its model could not be loaded")
            worker.ended.result()
            raise
        finally:
            self._watched, self._watch = False, _watch_nothing
        with self._lock:
            if self._loading is not None:
                self._worker = worker
        for name, (args, kwargs) in tuple(self._told.items()):
            tell(worker, name, args, kwargs)
        return worker

    def _stop(self, loading: Any) -> Future[None]:
        if self._loading is loading:
            self._stopped.set()
            self._worker = None
        return super()._stop(loading)

    def _process(self, job: Job) -> Worker:
        spare = take_spare(self._path, self._isolation)
        if spare is not None:
            job.on_cancel(functools.partial(spare.worker.dismiss, _CANCELLED))
        ready = spare is not None and spare.is_ready()
        worker = spare.worker if spare is not None and ready else Worker(self._isolation)
        worker.title = self._title()
        job.on_cancel(functools.partial(worker.dismiss, _CANCELLED))
        return worker

    def _footprint(self, job: Job) -> Footprint | None:
        found: Footprint | None
        loaded = self._running()
        if loaded is not None:
            # Past the queue of the requests, which may be long. It may end in the meantime.
            with contextlib.suppress(BackendCrashedError):
                asking = loaded.begin("call", "footprint", (), {})
                job.on_cancel(functools.partial(loaded.cancel, asking))
                found = asking.future.result()
                return found
        self._restarts.wait(self._title(), job, threading.Event())
        options = self._order().options
        worker = self._process(job)
        sizing = None
        try:
            sizing = worker.begin("warm", self._path, options, ())
            found = sizing.future.result()
        finally:
            if worker.lost.done() and worker.lost.result():
                self._restarts.crashed()
            if sizing is None or not keep(self._isolation, self._path, Spare(worker, sizing)):
                worker.dismiss("it was there to size a model")
                worker.ended.result()
        return found

    @staticmethod
    def _close(engine: Worker) -> None:
        engine.close()

    def _order(self) -> Begin:
        options = self.options
        if getattr(options, "isolation", None) is not None:
            options = dataclasses.replace(options, isolation=None)
        try:
            pickle.dumps(options)
        except Exception as error:
            raise LoadError(
                f"{self._title()}: its options can't go to another process: {error}"
            ) from error
        return Begin(
            self._path,
            options,
            levels_here(),
            self._watched,
            self._isolation.spare,
        )

    def _forget(self, worker: Worker) -> None:
        """Count as unloaded from now on, since the process is gone."""
        with self._lock:
            loading = self._loading
            if loading is None or not loading.succeeded or self._worker is not worker:
                return
            self._stop(loading)
        if worker.end is not None:
            for listener in tuple(self._listeners.values()):
                listener(worker.end())

    def _running(self) -> Worker | None:
        return self._worker if self.is_loaded else None

    def _names(self) -> tuple[str, ...]:
        given = [name for name in vars(self._here) if name not in vars(self)]
        return ("device", *self._properties, *(name for name in given if name[0] != "_"))

    def _fact(self, name: str) -> Any:
        if self.is_loaded and name in self._facts:
            return self._facts[name]
        return getattr(self._here, name)

    def _tell(self, name: str, args: Any, kwargs: Any) -> None:
        self._told[name] = args, kwargs
        worker = self._worker
        if worker is not None:
            tell(worker, name, args, kwargs)

    async def _begun(self, name: str, given: Given) -> Any:
        feeding = given.take_sound()
        reader = await self._source(stream, name, given.args, given.kwargs, feeding)
        return reader if feeding is None else feeding.beside(reader)


def _watch_nothing() -> None:
    """Stand for the watching of a load while none goes on."""


def _lost(
    owner: weakref.ref[IsolatedBackend], worker: Worker, load: Job, lost: Future[bool]
) -> None:
    """Tell a model that its process is gone, unless the model is gone as well."""
    model = owner()
    if model is None:
        return
    if lost.result():
        model._restarts.crashed()
    # It may have died in the moment in which its load ends: that end comes first.
    load.future.add_done_callback(lambda _: model._forget(worker))


def _again(cls: type, options: Any, isolation: Isolation) -> Any:
    from blazen.isolation.model import isolated_class

    return isolated_class(cls)(options, isolation)
