"""Sound that is still being made, on its way to a worker process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from blazen.isolation.asked import Request
from blazen.isolation.carried import carry
from blazen.isolation.orders import Live
from blazen.isolation.worker import Worker
from blazen.types.live import LiveAudio

_AHEAD = 64
"""How many pieces may be on their way before one is taken."""


class Feeding:
    """Reads live sound on the caller's loop, and sends it as fast as the other side takes it."""

    def __init__(self, sound: LiveAudio, sample_rate: int) -> None:
        self._sound = sound
        self._rate = sample_rate
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_AHEAD)
        self._task: asyncio.Task[None] | None = None
        self._left = False

    @classmethod
    def of(cls, args: list[Any], kwargs: dict[str, Any]) -> Feeding | None:
        """Take the live sound out of arguments, where there is some; its place is marked."""
        places: tuple[tuple[Any, Any], ...] = ((args, range(len(args))), (kwargs, tuple(kwargs)))
        for given, keys in places:
            for key in keys:
                found = Live.of(given[key])
                if found is not None:
                    given[key], sound = found
                    return cls(sound, given[key].sample_rate)
        return None

    def begin(self, worker: Worker, request: Request) -> None:
        """Start to send; any thread may call this."""
        request.waits_for.add("its sound")
        self._on_loop(self._start, worker, request)

    def taken(self) -> None:
        """Hear that a piece was taken; any thread may call this."""
        self._on_loop(self._room.release)

    def beside(self, reader: Any) -> Any:
        """Give a source like this one, which stops the sound when it is left."""
        return _Beside(reader, self)

    def stop(self) -> None:
        """Listen no more; on the caller's loop."""
        self._left = True
        if self._task is not None:
            self._task.cancel()

    def _on_loop(self, call: Any, *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no one listens any more
            self._loop.call_soon_threadsafe(call, *args)

    def _start(self, worker: Worker, request: Request) -> None:
        if not self._left:
            self._task = self._loop.create_task(self._send(worker, request))

    async def _send(self, worker: Worker, request: Request) -> None:
        last: Any = None
        try:
            async with contextlib.aclosing(self._sound.blocks(sample_rate=self._rate)) as blocks:
                async for block in blocks:
                    await self._room.acquire()
                    worker.feed(request, block)
        except Exception as error:  # noqa: BLE001 - the engine's side raises it
            last = carry(error)
        request.go_on("its sound")
        worker.feed(request, last)


class _Beside:
    def __init__(self, reader: Any, feeding: Feeding) -> None:
        self._reader = reader
        self._feeding = feeding

    async def __anext__(self) -> Any:
        try:
            return await self._reader.__anext__()
        except BaseException:
            self._feeding.stop()
            raise

    def gather(self) -> None:
        self._reader.gather()

    async def aclose(self) -> None:
        self._feeding.stop()
        await self._reader.aclose()

    def abandon(self) -> None:
        self._feeding._on_loop(self._feeding.stop)
        self._reader.abandon()
