"""What mistral.rs takes from its process, and would else choose for itself."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

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


class Workers:
    """The threads that an engine works on: its runtime's that began after it, before the next.

    Some begin, or take their name, only after the engine has loaded, so that nobody can list them
    then. Make one under `settled`, which lets no other engine load meanwhile.
    """

    _latest: ClassVar[Workers | None] = None

    def __init__(self) -> None:
        self._others = runtime_threads()
        self._all: frozenset[int] | None = None
        if (last := Workers._latest) is not None:
            last._all = self._others - last._others
        Workers._latest = self

    def wait_for_end(self) -> bool:
        """Wait until they have ended, as they do once the engine has freed its memory.

        It frees it on one of them, after it was let go. It may keep a thread that nobody asked
        for, so that patience ends.
        """
        until = time.monotonic() + _PATIENCE
        while self._going():
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
        return True

    def _going(self) -> frozenset[int]:
        now = runtime_threads()
        # Looked at in this order: had another engine begun before the list, its end would be known.
        return now - self._others if self._all is None else now & self._all


def runtime_threads() -> frozenset[int]:
    """Give the threads of all engines' runtimes in this process; only Linux tells."""
    found = set()
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with contextlib.suppress(OSError):  # it has ended since
            if (task / "comm").read_text("utf-8").startswith(_RUNTIME):
                found.add(int(task.name))
    return frozenset(found)


def words_of(error: BaseException) -> str:
    """Give what the engine says, without the trace of its own code."""
    return re.split(r"\n\s*0: ", str(error))[0].strip() or type(error).__name__
