"""Worker processes that wait, so that a model need not wait for an interpreter to start."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import sys
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blazen.errors import BackendCrashedError
from blazen.isolation.spawn import environment
from blazen.isolation.worker import Request, Worker
from blazen.options.isolation import Isolation

_lock = threading.Lock()
_waiting: dict[Hashable, Spare] = {}
_dismissed = 0
"""How often all that wait were ended: what was to be started before that is not started."""
_ending = False

log = logging.getLogger("blazen.isolation")


@dataclass(frozen=True)
class Spare:
    """A worker that waits."""

    worker: Worker
    warming: Request

    def is_ready(self) -> bool:
        """Wait until all is done that can be done ahead; ``False`` says that it has died."""
        try:
            self.warming.future.result()
        except BackendCrashedError:
            return False
        except Exception as error:  # noqa: BLE001 - whoever loads the model hears of that
            log.debug("%s could not be warmed: %s", self.worker.title, error)
        return self.worker.is_running


def take_spare(path: str, isolation: Isolation) -> Spare | None:
    """Give the worker that waits for a class, where one does."""
    if not isolation.spare:
        return None
    with _lock:
        return _waiting.pop(_key(path, isolation), None)


def prepare(isolation: Isolation, path: str, options: Any, modules: Sequence[str]) -> None:
    """Start a worker for a class, which imports what another one has, and waits.

    It does not wait itself. ``options`` are of the model that was loaded last: to size one like it
    brings what is looked up once.
    """
    work = functools.partial(_prepare, _dismissed, isolation, path, options, modules)
    try:
        threading.Thread(target=work, name="blazen:spare", daemon=True).start()
    except RuntimeError as error:  # there are too many threads, or the interpreter ends
        log.debug("no spare could be started for %s: %s", path, error)


def _prepare(
    dismissed: int, isolation: Isolation, path: str, options: Any, modules: Sequence[str]
) -> None:
    key = _key(path, isolation)
    with _lock:
        if _ending or dismissed != _dismissed:
            return
        if key in _waiting and _waiting[key].worker.is_running:
            return
        try:
            worker = Worker(isolation)
            worker.title = f"a spare for {path}"
            _waiting[key] = Spare(worker, worker.begin("warm", path, options, modules))
        except Exception as error:  # noqa: BLE001 - the model that was loaded works without
            log.warning("no spare could be started for %s: %s", path, error)


def keep(isolation: Isolation, path: str, spare: Spare) -> bool:
    """Have a worker wait that has done its warming, if one is wanted."""
    with _lock:
        key = _key(path, isolation)
        if not isolation.spare or _ending or not spare.worker.is_running or key in _waiting:
            return False
        spare.worker.title = f"a spare for {path}"
        _waiting[key] = spare
        return True


def dismiss() -> None:
    """End all that wait."""
    global _dismissed
    with _lock:
        _dismissed += 1
        waiting = [spare.worker for spare in _waiting.values()]
        _waiting.clear()
    for worker in waiting:
        worker.dismiss("it was not needed")
    for worker in waiting:
        worker.ended.result()


def _key(path: str, isolation: Isolation) -> Hashable:
    # What a process is started with; the rest is said to it when it begins.
    started = replace(isolation, memory=None, nice=0)
    cwd = os.fspath(isolation.cwd) if isolation.cwd is not None else str(Path.cwd())
    given = frozenset(environment(isolation).items())
    return path, repr(started), cwd, given, tuple(sys.path)


def _forget() -> None:
    """Leave the spares of the parent to it, in a fork of it."""
    global _lock
    _lock = threading.Lock()
    _waiting.clear()


@atexit.register
def _at_exit() -> None:
    global _ending
    _ending = True
    with contextlib.suppress(Exception):
        dismiss()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
