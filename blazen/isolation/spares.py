"""Worker processes that wait, so that a model need not wait for an interpreter to start."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import functools
import logging
import os
import sys
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.errors import BackendCrashedError
from blazen.isolation.asked import Request
from blazen.isolation.output import hand_on
from blazen.isolation.spawn import environment
from blazen.isolation.worker import Worker
from blazen.options.isolation import Isolation

_lock = threading.Lock()
_waiting: dict[str, tuple[Hashable, Spare]] = {}
"""By the path of a class: at most one for each, with what it was started with."""
_dismissed = 0
"""How often all that wait were ended: what was to be started before that is not started."""
_ending = False
_LONGEST = 5.0
"""Seconds in which those that were ended must be gone; the system ends them in any case."""

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
    key = _key(isolation)
    with _lock:
        found, spare = _waiting.get(path, (None, None))
        if found != key:
            return None
        del _waiting[path]
        return spare


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
    try:
        key = _key(isolation)
        with _lock:
            if _ending or dismissed != _dismissed or _has_one(path, key):
                return
            worker = Worker(isolation)
            worker.title = f"a spare for {path}"
            _place(path, key, Spare(worker, worker.begin("warm", path, options, modules)))
    except Exception as error:  # noqa: BLE001 - the model that was loaded works without
        hand_on(log, logging.WARNING, "no spare could be started for %s: %s", path, error)


def keep(isolation: Isolation, path: str, spare: Spare) -> bool:
    """Have a worker wait that has done its warming, if one is wanted."""
    key = _key(isolation)
    with _lock:
        wanted = isolation.spare and not _ending and spare.worker.is_running
        if not wanted or _has_one(path, key):
            return False
        spare.worker.title = f"a spare for {path}"
        _place(path, key, spare)
        return True


def _has_one(path: str, key: Hashable) -> bool:
    found, spare = _waiting.get(path, (None, None))
    return spare is not None and found == key and spare.worker.is_running


def _place(path: str, key: Hashable, spare: Spare) -> None:
    _, old = _waiting.pop(path, (None, None))
    if old is not None:  # whoever wants it would have to go back to what has changed since
        old.worker.dismiss("another one has taken its place")
    _waiting[path] = key, spare


def dismiss() -> None:
    """End all that wait."""
    global _dismissed
    with _lock:
        _dismissed += 1
        waiting = [spare.worker for _, spare in _waiting.values()]
        _waiting.clear()
    for worker in waiting:
        worker.dismiss("it was not needed")
    concurrent.futures.wait([worker.ended for worker in waiting], timeout=_LONGEST)


def _key(isolation: Isolation) -> Hashable:
    cwd = str(Path(isolation.cwd or "").absolute())
    given = frozenset(environment(isolation).items())
    return repr(isolation), cwd, given, tuple(sys.path)


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
