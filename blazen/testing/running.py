"""How the suites run: each test on an event loop of its own, watched for what it leaves behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

TICK_SECONDS = 0.001


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test of a suite an ordinary one, so that it needs no plugin and no mode.

    It fails too when it leaves a task pending, when something raised on the loop that nobody
    awaited, and when it does not end within the suite's ``limit_seconds``.
    """

    @functools.wraps(test)
    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        run_watched(functools.partial(test, self, *args, **kwargs), self.limit_seconds)

    return run


def run_watched(body: Callable[[], Coroutine[Any, Any, T]], limit: float) -> T:
    """Run a coroutine on a new loop and give its result; see `on_loop`."""
    outcome: list[Any] = []

    def serve() -> None:
        try:
            outcome.extend((asyncio.run(_watched(body())), None))
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            outcome.extend((None, error))

    # A thread of its own: a loop that an engine blocks for ever could not give up by itself.
    thread = threading.Thread(target=serve, name="suite", daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        place = "".join(traceback.format_stack(frame)) if frame else ""
        pytest.fail(f"it was not done after {limit} s; its loop's thread stands here:\n{place}")
    result, error = outcome
    if error is not None:
        raise error
    answer: T = result
    return answer


_ENDING = 5.0
"""Seconds in which tasks end that were cancelled."""


async def _watched(body: Coroutine[Any, Any, T]) -> T:
    raised: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(context))
    own = asyncio.current_task()
    result = await body
    gc.collect()  # what fails unseen says so when it is dropped
    for _ in range(20):  # what was cancelled or closed a moment ago may still come to its end
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() if task is not own}
    if left:  # its end may wait for an engine's thread
        _, left = await asyncio.wait(left, timeout=_ENDING)
    assert not left, f"these tasks were left pending: {left}"
    assert not raised, f"these errors were left on the loop, with no one to see them: {raised}"
    return result


class Ticks:
    """A clock that counts. The suites compare counts with counts, never with seconds.

    Its thread ticks; at each tick it asks the loop for a sign of life, unless the last one is
    still outstanding. A machine that is slow slows both down alike.
    """

    def __init__(self) -> None:
        self.count = 0
        """How often it ticked."""
        self.answered = 0
        """How often the loop gave a sign of life."""
        self._loop = asyncio.get_running_loop()
        self._beat = asyncio.Event()
        self._asked = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="ticks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    async def pass_by(self, ticks: int) -> None:
        """Wait for some ticks."""
        until = self.count + ticks
        while self.count < until:
            self._beat.clear()
            await self._beat.wait()

    async def during(self, work: Awaitable[Any]) -> int:
        """Count the ticks while something is awaited."""
        before = self.count
        await work
        return self.count - before

    def _tick(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self.count += 1
            if self.answered == self._asked:
                self._asked += 1
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self.answered += 1
        self._beat.set()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended by that."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
