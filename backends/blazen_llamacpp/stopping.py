"""Stopping llama.cpp in the middle of a computation."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from blazen.bridge import Job
from blazen_llamacpp.library import load_library


class Stopper:
    """What a context asks, between two steps of its graph, whether to go on (on the CPU only).

    The question is a C function, ``strlen``, of two bytes that are a text of length 0 until a
    request is cancelled: a Python function would wait for the interpreter's lock at each step.
    """

    def __init__(self) -> None:
        self._function = length_of_text()
        self._bytes = ctypes.create_string_buffer(2)

    def watch(self, context: Any, job: Job) -> None:
        """Have a context stop when the job's caller goes."""
        # New for each job: a caller who goes late would else stop the next one.
        self._bytes = flag = ctypes.create_string_buffer(2)
        self.ask(context)
        job.on_cancel(lambda: ctypes.memset(flag, 1, 1))

    def ask(self, context: Any) -> None:
        """Have one more context ask the same; it must not outlive this object."""
        load_library().llama_set_abort_callback(
            context, self._function, ctypes.cast(self._bytes, ctypes.c_void_p)
        )


def length_of_text() -> Any:
    """Give the function to be asked: 0, so false, while the first byte of its text is 0."""
    library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    return ctypes.cast(library.strlen, load_library().ggml_abort_callback)
