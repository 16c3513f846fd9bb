"""One call of a tool: the model that is meant, its load, and how far the work has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from blazen.catalog import OpenCatalog
from blazen.manager import ModelManager, State
from blazen.types.progress import Progress
from blazen.types.stream import Stream

P = TypeVar("P")
R = TypeVar("R")

PAUSE = 0.1
"""Seconds between two reports of the same stage: a client shows no more."""


class Hears(Protocol):
    """Whoever is told how far a call is."""

    async def __call__(self, progress: float, total: float | None, message: str) -> None:
        """Hear of one step."""


class Call:
    """What the work of a tool is given, beside its arguments."""

    def __init__(
        self,
        open: OpenCatalog,  # noqa: A002 - the catalogue's own word
        tell: Hears,
        folders: tuple[Path, ...] = (),
        gone: asyncio.Event | None = None,
    ) -> None:
        self.open = open
        self.folders = folders
        """Where files may be read, by their paths."""
        self.gone = gone
        """Set when the client has gone without a word, where that can be seen."""
        self._tell = tell
        self._last = -1.0
        self._due = 0.0
        self.done = 0
        """How many pieces of the answer came so far."""

    @property
    def manager(self) -> ModelManager:
        """What runs the models."""
        return self.open.manager

    async def ready(self, name: str | None, kind: str) -> str:
        """Find the model and have it loaded, with a report of each step; give its id.

        Only what is listed is found: a client can't have a path or a URL opened here.
        """
        id = await self.open.name_of(name, kind)  # noqa: A001
        await self._load(id)
        return id

    async def report(self, done: float, total: float | None, message: str) -> None:
        """Tell the client how far the work is: it begins at 0, and only goes up.

        What comes soon after another is left out.
        """
        now = asyncio.get_running_loop().time()
        # A load is the first 1 of the whole, whatever follows.
        await self._say(1 + done, None if total is None else 1 + total, message, now)

    async def collect(
        self,
        stream: Stream[P, R],
        how: Callable[[P, int], tuple[float, float | None, str]],
    ) -> R:
        """Read a stream to its end, and report each piece; ``how`` says what the n-th one means."""
        async with stream:
            async for piece in stream:
                self.done += 1
                await self.report(*how(piece, self.done))
        return stream.response

    async def _load(self, id: str) -> None:  # noqa: A002
        state = next(one.state for one in self.manager.status().models if one.id == id)
        if state in (State.Ready, State.Remote):
            return
        await self._say(0, None, f"loading {id}", asyncio.get_running_loop().time())
        heard: asyncio.Queue[Progress | None] = asyncio.Queue()
        loading = asyncio.ensure_future(self.manager.load(id, on_progress=heard.put_nowait))
        loading.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (step := await heard.get()) is not None:
                part = min(step.fraction or 0.0, 0.99)
                now = asyncio.get_running_loop().time()
                await self._say(part, None, f"{step.stage} {step.detail or id}", now)
            await loading
        finally:
            if not loading.done():
                loading.cancel()
                await asyncio.wait([loading])

    async def _say(self, progress: float, total: float | None, message: str, now: float) -> None:
        if progress <= self._last or (now < self._due and progress != total):
            return
        self._last, self._due = progress, now + PAUSE
        await self._tell(progress, total, message)
