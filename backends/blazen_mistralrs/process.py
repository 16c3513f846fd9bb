"""What mistral.rs takes from its process, and would else choose for itself."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_lock = threading.Lock()
_TASKS = Path("/proc/self/task")
_RUNTIME = "tokio-runtime"
_PATIENCE = 5.0


@contextlib.contextmanager
def settled(threads: int) -> Iterator[None]:
    """Let a model be loaded with so many threads, and in silence; what the user set stands.

    The engine reads both from the environment alone, when it is imported and when it first works.
    Its threads are for the whole process: the first model that is loaded decides on their number.
    """
    with _lock:
        wanted = {"RAYON_NUM_THREADS": str(threads), "RUST_LOG": "off"}
        ours = {name: value for name, value in wanted.items() if name not in os.environ}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name in ours:
                os.environ.pop(name, None)


def runtime_threads() -> frozenset[int]:
    """Give the threads of all engines' runtimes in this process; only Linux tells."""
    found = set()
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with contextlib.suppress(OSError):  # it has ended since
            if (task / "comm").read_text("utf-8").startswith(_RUNTIME):
                found.add(int(task.name))
    return frozenset(found)


def wait_for_end(threads: frozenset[int]) -> None:
    """Wait until threads have ended, as those of an engine do once it has freed its memory.

    It frees it on a thread of its own, after it was let go. Other threads may have begun at the
    same time as an engine's, so that patience ends.
    """
    until = time.monotonic() + _PATIENCE
    while any((_TASKS / str(thread)).exists() for thread in threads):
        if time.monotonic() > until:
            return
        time.sleep(0.001)


def words_of(error: BaseException) -> str:
    """Give what the engine says, without the trace of its own code."""
    return re.split(r"\n\s*0: ", str(error))[0].strip() or type(error).__name__
