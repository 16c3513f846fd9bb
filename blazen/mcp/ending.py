"""How a server ends when it is told to: at a signal, with everything in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ended_by(number: signal.Signals) -> Iterator[None]:
    """Have a signal cancel what the task does in this block, which then ends without an error."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    came = False

    def end() -> None:
        nonlocal came
        came = True
        if task is not None:
            task.cancel()

    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(NotImplementedError):  # Windows ends a program at once
            loop.add_signal_handler(number, end)
    try:
        yield
    except asyncio.CancelledError:
        if not came:
            raise
        if sys.version_info >= (3, 11) and task is not None:
            task.uncancel()
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(number)
