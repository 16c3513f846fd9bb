"""Texts from anywhere, some at a time: never more of them are held than one window."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from blazen.errors import ValidationError

T = TypeVar("T")

Texts: TypeAlias = str | Iterable[str] | AsyncIterable[str]

LINGER_SECONDS = 0.02
"""How long a window that is not full waits for a source that has nothing ready."""


def check_source(texts: object) -> None:
    """Refuse what gives no texts."""
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, (Iterable, AsyncIterable)):
        raise ValidationError(
            f"embed_stream takes texts from an iterable, asynchronous or not, not {texts!r:.80}"
        )


async def answered(
    texts: Texts, size: int, answer: Callable[[list[str]], Awaitable[T]]
) -> AsyncIterator[T]:
    """Give the answer for each window of texts, in order."""
    count = 0
    async with contextlib.aclosing(windows(texts, size)) as found:
        async for window in found:
            for place, text in enumerate(window):
                if not isinstance(text, str):
                    raise ValidationError(
                        f"text {count + place} of the source must be a text, not {text!r:.80}"
                    )
            count += len(window)
            yield await answer(window)


async def windows(texts: Texts, size: int) -> AsyncGenerator[list[str], None]:
    """Give texts in lists of at most ``size``.

    What a source gave before it raised is given first. An iterable is read here, on the event loop;
    a slow asynchronous one is not waited for while there is something to give. That is read in a
    task of its own, from its start to its end, and at most one text ahead.
    """
    if isinstance(texts, AsyncIterable):
        async with contextlib.aclosing(_arriving(texts, size)) as found:
            async for window in found:
                yield window
        return
    source = iter([texts] if isinstance(texts, str) else texts)
    problem: Exception | None = None
    while problem is None:
        window = []
        problem = _fill(window, source, size)
        if window:
            yield window
        elif problem is None:
            return
    raise problem


def _fill(window: list[str], source: Iterator[str], size: int) -> Exception | None:
    try:
        window.extend(islice(source, size))
    except Exception as error:  # noqa: BLE001 - it is raised once what came before is answered
        return error
    return None


async def _arriving(texts: AsyncIterable[str], size: int) -> AsyncGenerator[list[str], None]:
    reading = _Reading(texts, size)
    task = asyncio.create_task(reading.run())
    task.add_done_callback(_look)
    try:
        while reading.window or not task.done():
            await reading.more(task)
            if reading.window:
                yield reading.take()
                reading.go_on()
        await task
    finally:
        if not task.done():
            reading.left = True
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()


class _Reading:
    """What one task has read of a source, and no one has taken yet.

    All is read in one task: a timeout, a task group or a context variable that a source holds
    while it gives texts belongs to the task that entered it.
    """

    def __init__(self, texts: AsyncIterable[str], size: int) -> None:
        self.window: list[str] = []
        self.left = False
        """Whether no one wants more."""
        self._texts = texts
        self._size = size
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._news: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Read to the end, or until no one wants more; close the source."""
        source = aiter(self._texts)
        try:
            step: Callable[[], Awaitable[str]] = source.__anext__
            while True:
                try:
                    text = await step()
                except StopAsyncIteration:
                    return
                if self.left:
                    return
                self.window.append(text)
                if self._news is not None and not self._news.done():
                    self._news.set_result(None)
                if len(self.window) >= self._size:
                    self._wanted.clear()
                step = await self._next(source)
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _next(self, source: AsyncIterator[str]) -> Callable[[], Awaitable[str]]:
        try:
            await self._wanted.wait()
        except asyncio.CancelledError as error:
            throw: Any = getattr(source, "athrow", None)
            if self.left or throw is None:
                raise
            # A timeout of the source has run out between two texts: only there is it caught.
            return functools.partial(throw, error)
        return source.__anext__

    async def more(self, task: asyncio.Task[None]) -> None:
        """Wait until the window is full, or nothing comes any more, or for a while not."""
        while not task.done() and (count := len(self.window)) < self._size:
            self._news = asyncio.get_running_loop().create_future()
            await asyncio.wait(
                [task, self._news],
                timeout=LINGER_SECONDS if count else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if count and len(self.window) == count:
                return

    def take(self) -> list[str]:
        """Give the window; no other is begun before `go_on`."""
        window, self.window = self.window, []
        self._wanted.clear()
        return window

    def go_on(self) -> None:
        """Have the next window read."""
        if len(self.window) < self._size:
            self._wanted.set()


def _look(task: asyncio.Task[None]) -> None:
    # A reader that has left raises no error of the source: asyncio would report it as forgotten.
    if not task.cancelled():
        task.exception()
