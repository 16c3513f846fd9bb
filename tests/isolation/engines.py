"""An engine that gets into trouble as asked, for tests of worker processes; it runs inside them."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import importlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from blazen.bridge import Job, StreamJob
from blazen.errors import LoadError
from blazen.local import LocalBackend
from blazen.protocols.model import Model
from blazen.types.chat import as_messages
from blazen.types.completion import CompletionOptions, FinishReason, InferenceChunk
from blazen.types.completion import InferenceChunkStream as ChunkStream
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress

log = logging.getLogger("tests.isolation.engines")


class EngineError(Exception):
    """An engine's own."""


class Poison:
    """Crosses one way, and can't be put together again."""

    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    raise EngineError("it can't be put together")


@dataclass(frozen=True)
class TroubleOptions:
    """What happens as it loads and unloads: names of `FAULTS`."""

    name: str = "trouble"
    _: KW_ONLY
    size: str = ""
    load: str = ""
    unload: str = ""
    once: Path | None = None
    """A file that is written at the first fault; where it is, no more of them come to pass."""
    parallel: int = 4
    payload: Any = None


class Engine:
    def __init__(self, options: TroubleOptions) -> None:
        self.options = options
        self.made = 0
        self.barrier = threading.Barrier(3)


class Trouble(LocalBackend[Engine], Model):
    """Says ``one two three four``; a message is where a fault happens, and which."""

    Options = TroubleOptions
    options: TroubleOptions

    def __init__(self, options: TroubleOptions | None = None) -> None:
        super().__init__(options or TroubleOptions())

    @property
    def home(self) -> int:
        """The process that holds the engine."""
        return os.getpid()

    @property
    def lock(self) -> Any:
        """What can't cross."""
        return threading.Lock()

    def _footprint(self, job: Job) -> Footprint:
        _happen("size", self.options.size, self.options.once, job)
        return Footprint({"cpu": os.getpid()})

    def _open(self, job: Job, report: OnProgress) -> Engine:
        report(Progress("load", 0, 1, unit="steps"))
        if self.options.load == "tell":
            _tell(self.options.once, report)
        _happen("load", self.options.load, self.options.once, job)
        if job.cancelled:
            raise LoadError("loading was stopped")
        return Engine(self.options)

    @staticmethod
    def _close(engine: Engine) -> None:
        _happen("unload", engine.options.unload, engine.options.once)

    def _width(self) -> int:
        return self.options.parallel

    def complete_stream(self, messages: Any, options: Any = None) -> ChunkStream:
        """Say four words; between the second and the third is the middle of the stream."""
        CompletionOptions.of(options)
        where, _, fault = as_messages(messages)[-1].text.partition(" ")
        return ChunkStream(lambda: self._source(_speak, where, fault))

    async def do(self, action: str, *args: Any) -> Any:
        """Run one of `ACTIONS`."""
        return await self._call(_act, action, args)

    def plain(self, action: str, *args: Any) -> Any:
        """Do the same by a method that is no coroutine function."""
        return self.do(action, *args)

    async def count_up(self, most: int) -> Any:
        """Give numbers, without a stream of ours."""
        for number in range(most):
            yield number, os.getpid()


def _tell(once: Path | None, report: OnProgress) -> None:
    log.warning("it begins")
    while once is not None and not once.exists():
        report(Progress("load", 1, unit="steps"))
        time.sleep(0.01)


def _speak(engine: Engine, job: StreamJob[Any], where: str, fault: str) -> None:
    once = engine.options.once
    if where == "endless":
        while job.emit(InferenceChunk(content="word ")):
            engine.made += 1
        return
    if where == "prefill":
        _happen("prefill", fault, once, job)
    for word in ("one ", "two "):
        job.emit(InferenceChunk(content=word))
    if where == "poison":
        job.emit(Poison() if fault == "read" else threading.Lock())
    if where == "mid-stream":
        _happen("mid-stream", fault, once, job)
    for word in ("three ", "four"):
        job.emit(InferenceChunk(content=word))
    job.emit(InferenceChunk(finish_reason=FinishReason.Stop))


def _happen(stage: str, fault: str, once: Path | None, job: Job | None = None) -> None:
    if not fault or (once is not None and once.exists()):
        return
    if once is not None:
        once.touch()
    log.warning("at %s in %d", stage, os.getpid())
    FAULTS[fault](job)


def _wait(job: Job | None) -> None:
    while job is None or not job.cancelled:
        time.sleep(0.01)


def _hold_the_lock(job: Job | None) -> None:
    ctypes.PyDLL(None).pause()


def _grow(job: Job | None) -> None:
    held = []
    while True:
        held.append(bytearray(64 << 20))


def _raise(job: Job | None) -> None:
    try:
        raise ValueError("the first cause")
    except ValueError as error:
        raise EngineError("the engine is sad") from error


FAULTS: dict[str, Callable[[Job | None], Any]] = {
    "wait": _wait,  # until it is stopped
    "ignore": lambda job: threading.Event().wait(),
    "hold": _hold_the_lock,
    "segv": lambda job: ctypes.string_at(0),
    "abort": lambda job: os.abort(),
    "kill": lambda job: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda job: os._exit(3),
    "sys.exit": lambda job: sys.exit(3),
    "memory": _grow,
    "raise": _raise,
}


def _act(engine: Engine, job: Job, action: str, args: tuple[Any, ...]) -> Any:
    return ACTIONS[action](engine, *args)


def _flood(engine: Engine, megabytes: int) -> None:
    line = b"noise of the engine " * 50 + b"\n"
    for _ in range((megabytes << 20) // len(line)):
        os.write(2, line)
    os.write(1, b"the last line\n")


def _talk(engine: Engine) -> None:
    logging.getLogger("tests.isolation.quiet").info("not wanted")
    logging.getLogger("tests.isolation.loud").debug("wanted: %d", 7)
    warnings.warn("it grows old", UserWarning, stacklevel=2)


def _start_another(engine: Engine) -> int:
    # It holds all that this process holds, and would outlive it.
    code = "import time; time.sleep(600)"
    return subprocess.Popen([sys.executable, "-c", code], close_fds=False).pid


def _fork(engine: Engine) -> int:
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(60)
    return pid


def _refuse_files(engine: Engine) -> None:
    """Let no file be written any more, as on a full disk."""

    def audit(event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & 3 != os.O_RDONLY
        if writes and args[0] != os.devnull:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), args[0])

    sys.addaudithook(audit)


def _nice(engine: Engine) -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


ACTIONS: dict[str, Callable[..., Any]] = {
    "pid": lambda engine: os.getpid(),
    "environ": lambda engine: dict(os.environ),
    "import": lambda engine, module: importlib.import_module(module).__name__,
    "imported": lambda engine: tuple(sys.modules),
    "cwd": lambda engine: str(Path.cwd()),
    "nice": _nice,
    "made": lambda engine: engine.made,
    "echo": lambda engine, value: value,
    "double": lambda engine, array: array * 2,
    "meet": lambda engine: engine.barrier.wait(60),
    "lock": lambda engine: threading.Lock(),
    "poison": lambda engine: Poison(),
    "raise": lambda engine, error: _raise_it(error),
    "flood": _flood,
    "talk": _talk,
    "start another": _start_another,
    "fork": _fork,
    "refuse files": _refuse_files,
    "reserve": lambda engine, size: len(bytearray(size)),
    "wait": lambda engine: _happen("wait", "wait", None),
}


def _raise_it(error: BaseException) -> None:
    raise error


class Unhappy(Trouble):
    """Its stop comes from within: as if its own task had been cancelled."""

    async def do(self, action: str, *args: Any) -> Any:
        """Be cancelled, though nobody asked."""
        raise asyncio.CancelledError
