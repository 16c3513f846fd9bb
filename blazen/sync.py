"""The asynchronous API for callers without an event loop.

``blocking(x)`` gives the same object with blocking methods: awaitables are awaited, streams are
iterated by a plain ``for``, ``async with`` becomes ``with``. One background loop serves them all,
so that it also works inside a notebook, where a loop runs already.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from blazen.errors import BlazenError

T = TypeVar("T")

_THREAD_NAME = "blazen:blocking"

_lock = threading.Lock()
_server: _Server | None = None


def blocking(target: Any) -> Any:
    """Give a model, a manager or a stream whose methods block until they are done."""
    return Blocking(target)


class Blocking:
    """The blocking face of an asynchronous object."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        if name == "_target":  # asked for by copy and pickle, before it is there
            raise AttributeError(name)
        value = getattr(self._target, name)
        return _Method(value) if callable(value) else value

    def __iter__(self) -> Iterator[Any]:
        # Nothing is closed here: this may end in a finalizer, on the very thread that would have to
        # close it. To drop the iterator is what stops a stream.
        pieces = self._target.__aiter__()
        while True:
            try:
                piece = wait(pieces.__anext__)
            except StopAsyncIteration:
                return
            yield _face(piece)

    def __enter__(self) -> Any:
        entered = wait(self._target.__aenter__)
        return self if entered is self._target else _face(entered)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        return wait(lambda: self._target.__aexit__(kind, error, trace))

    def close(self) -> None:
        """Close a stream: stop its engine and wait until it has stopped."""
        wait(self._target.aclose)

    def __len__(self) -> int:
        return len(self._target)

    def __contains__(self, item: object) -> bool:
        return item in self._target

    def __bool__(self) -> bool:
        return True  # not by its length

    def __repr__(self) -> str:
        return f"blocking({self._target!r})"


class _Method:
    def __init__(self, method: Any) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _expect_another_loop()
        return _face(self._method(*args, **kwargs))


def _face(value: Any) -> Any:
    """Wait for what is awaitable; give what streams or is entered its blocking face."""
    if inspect.isawaitable(value) and not hasattr(value, "__aiter__"):
        awaited = value
        value = wait(lambda: awaited)
    if hasattr(value, "__aiter__") or hasattr(value, "__aenter__"):
        return Blocking(value)
    return value


def wait(call: Callable[[], Awaitable[T]]) -> T:
    """Call and await on the background loop until it is done. Ctrl-C cancels it first."""
    _expect_another_loop()
    stopped, carried = threading.Event(), _Carried()
    future = asyncio.run_coroutine_threadsafe(
        _until_told(call, stopped, carried), background_loop()
    )
    try:
        # Not for ever at once: a signal that the system gave to another thread wakes no one here,
        # and Python acts on it only when this thread runs again.
        while not concurrent.futures.wait([future], timeout=1).done:
            pass
        carried.back()
        return future.result()
    except BaseException:  # Ctrl-C, or whatever else a signal handler raises here
        if future.done():
            raise
        future.cancel()
        stopped.wait(timeout=5)  # an engine stops at its next token; a second Ctrl-C waits no more
        raise


def _expect_another_loop() -> None:
    """Refuse a blocking call on the loop that would have to serve it: it would wait for ever."""
    if threading.current_thread().name == _THREAD_NAME:
        raise BlazenError("a blocking call can't be made from the loop that serves it: await it")


def background_loop() -> asyncio.AbstractEventLoop:
    """Give the loop that serves blocking callers: it lives as long as the interpreter."""
    global _server
    with _lock:
        if _server is None or _server.pid != os.getpid():  # a fork inherits no thread
            _server = _Server()
        return _server.loop


class _Server:
    """The loop that blocking callers share, on a thread of its own until the interpreter ends."""

    loop: asyncio.AbstractEventLoop
    _over: asyncio.Event

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(),), name=_THREAD_NAME, daemon=True
        )
        self._thread.start()
        self._ready.wait()
        atexit.register(self._end)

    async def _serve(self) -> None:
        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._over.wait()  # what still runs then is cancelled with the loop

    def _end(self) -> None:
        if self.pid == os.getpid():
            self.loop.call_soon_threadsafe(self._over.set)
            self._thread.join(timeout=5)


class _Carried:
    """The caller's context variables: a call reads and changes them as if made on its thread."""

    def __init__(self) -> None:
        self._before = contextvars.copy_context()
        self._changed: dict[contextvars.ContextVar[Any], Any] = {}

    def there(self) -> None:
        """Have them in the task that makes the call."""
        for variable, value in self._before.items():
            variable.set(value)

    def note(self, begun: contextvars.Context) -> None:
        """Note what the call has changed since its task has begun."""
        ended = contextvars.copy_context()
        self._changed = {v: ended[v] for v in ended if begun.get(v, self) is not ended[v]}

    def back(self) -> None:
        """Have the changes on the caller's thread: it may hold a lease from now on, for one."""
        for variable, value in self._changed.items():
            variable.set(value)


async def _until_told(
    call: Callable[[], Awaitable[T]], stopped: threading.Event, carried: _Carried
) -> T:
    carried.there()
    begun = contextvars.copy_context()
    try:
        return await call()
    finally:
        carried.note(begun)
        stopped.set()
