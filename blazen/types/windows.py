"""Texts from anywhere, some at a time: never more of them are held than one window."""

from __future__ import annotations

import asyncio
import contextlib
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
from typing import TypeAlias, TypeVar

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
    a slow asynchronous one is not waited for while there is something to give.
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
    source = aiter(texts)
    step: asyncio.Task[str] | None = None
    window: list[str] = []
    try:
        while True:
            step = step or asyncio.create_task(_next(source))
            await asyncio.wait([step], timeout=LINGER_SECONDS if window else None)
            if step.done():
                if step.cancelled() or step.exception() is not None:
                    break
                window.append(step.result())
                step = None
            if window and (step is not None or len(window) >= size):
                full, window = window, []
                yield full
        if window:
            yield window
        with contextlib.suppress(StopAsyncIteration):
            await step
    finally:
        if step is not None:
            step.cancel()
            await asyncio.wait([step])
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


async def _next(source: AsyncIterator[str]) -> str:
    return await anext(source)
