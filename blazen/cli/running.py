"""Commands that wait: an event loop for one call, which Ctrl-C stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end and give the result.

    Ctrl-C cancels the coroutine: it gets `asyncio.CancelledError` where it waits, may clean up,
    and then the program ends with 130. A second Ctrl-C does not wait for the cleaning up.
    """

    done = asyncio.run(stoppable(_kept(coroutine)))
    if done is None:
        raise KeyboardInterrupt
    return done[0]


async def _kept(coroutine: Coroutine[Any, Any, T]) -> tuple[T]:
    return (await coroutine,)


async def stoppable(coroutine: Coroutine[Any, Any, T]) -> T | None:
    """Wait for a result; ``None`` where Ctrl-C cancelled it, and it has cleaned up."""
    task = asyncio.ensure_future(coroutine)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        # From a signal's handler: the loop may be asleep.
        loop.call_soon_threadsafe(task.cancel)

    with _on_interrupt(stop):
        try:
            return await task
        except asyncio.CancelledError:
            if not stopped:
                raise
            return None


@contextlib.contextmanager
def _on_interrupt(act: Callable[..., None]) -> Iterator[None]:
    """Have Ctrl-C call a function; only the main thread may choose that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, act)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
