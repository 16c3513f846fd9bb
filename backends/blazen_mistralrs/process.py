"""What mistral.rs takes from its process, and would else choose for itself."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

_lock = threading.Lock()


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


def words_of(error: BaseException) -> str:
    """Give what the engine says, without the trace of its own code."""
    return re.split(r"\n\s*0: ", str(error))[0].strip() or type(error).__name__
