"""The worker process: it holds one model, and answers what comes through its channel."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import functools
import gc
import importlib
import inspect
import logging
import os
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from blazen import hardware
from blazen.isolation.bounds import die_with, limit
from blazen.isolation.carried import Carried, arrived, carry
from blazen.isolation.channel import Channel, Closed, Unreadable, pack
from blazen.isolation.handing import Pieces
from blazen.isolation.orders import WINDOW, Begin, Live
from blazen.types.progress import OnProgress
from blazen.types.stream import source_of

_USED_AFTER = 1.0
"""Seconds after a load in which its first request is answered, or was none."""


def main(fd: int, lifeline: int, memory: int, nice: int) -> None:
    """Serve until the other side closes its end, or is no more."""
    limit(memory, nice)
    for given in (fd, lifeline):
        os.set_inheritable(given, False)  # what the engine starts has no use for them
    die_with(lifeline)
    faulthandler.enable()
    asyncio.run(_Serving(Channel(socket.socket(fileno=fd))).run())


class _Serving:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._model: Any = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._pieces: dict[int, Pieces] = {}
        self._feeds: dict[int, asyncio.Queue[Any]] = {}
        self._sending = threading.local()
        self._tells = False
        self._watched = False

    async def run(self) -> NoReturn:
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, name="blazen:channel", daemon=True).start()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    def _listen(self) -> None:
        try:
            while True:
                for message in self._channel.receive():
                    self._loop.call_soon_threadsafe(self._take, *message)
        except Closed:
            os._exit(0)
        except BaseException:  # noqa: BLE001 - deaf, it would be of no use to anyone
            traceback.print_exc()
            os._exit(1)

    def _say(self, kind: str, number: int, *what: Any) -> None:
        self._sending.now = True
        try:
            self._channel.send(pack(kind, number, *what))
        except Closed:
            os._exit(0)
        finally:
            self._sending.now = False

    def _log(self, name: str, level: int, text: str) -> None:
        # A finalizer may log while this very thread sends something: that record is dropped, for
        # the channel is taken.
        if not getattr(self._sending, "now", False):
            self._say("log", 0, name, level, text)

    def _take(self, kind: str, number: int, what: Any) -> None:
        if isinstance(what, Unreadable):
            self._say("failed", number, carry(what.error))
        elif kind == "ping":
            self._say("pong", 0)
        elif kind == "watch":
            self._watching = asyncio.create_task(self._watch(number))
        elif kind in ("cancel", "feed", "more", "gather"):
            # The request itself may have come in the same turn: its task takes its first step
            # before this. Cancelled before that step, it would end without a word.
            self._loop.call_soon(self._follow, kind, number, what)
        else:
            answer: Callable[..., Awaitable[Any]] = getattr(self, f"_{kind}")
            self._tasks[number] = asyncio.create_task(self._answer(number, answer, what))

    async def _answer(
        self, number: int, answer: Callable[..., Awaitable[Any]], what: tuple[Any, ...]
    ) -> None:
        try:
            result = await answer(number, *what)
            self._finish(number)
            self._say("done", number, result)
        except BaseException as error:  # noqa: BLE001 - whoever asked raises it
            pieces = self._pieces.get(number)
            with contextlib.suppress(Exception):
                self._finish(number)
            self._say("failed", number, carry((pieces and pieces.error) or error))
        finally:
            self._tasks.pop(number, None)
            self._pieces.pop(number, None)
            self._feeds.pop(number, None)

    async def _warm(self, number: int, path: str, options: Any, modules: Sequence[str]) -> Any:
        """Do what a model will need, short of its weights; give what it will take."""
        await asyncio.to_thread(_import, modules)
        try:
            return await _class_at(path)(options).footprint()
        finally:
            # What was imported stays: to look through it for garbage again would slow the load.
            gc.collect()
            gc.freeze()

    async def _load(
        self, number: int, order: Begin, engines: int, facts: tuple[str, ...]
    ) -> dict[str, Any]:
        self._log_to_parent(order.levels)
        self._model = _class_at(order.path)(order.options)
        with hardware.sharing_cores(engines):
            self._watched = order.watched
            await self._model.load(on_progress=self._progress(number) if order.watched else None)
        self._tells = order.tells
        self._loop.call_later(_USED_AFTER, self._tell_used)
        return dict(self._facts(facts))

    async def _watch(self, number: int) -> None:
        """Tell how far a load is that has begun unwatched."""
        if not self._watched:
            self._watched = True
            with contextlib.suppress(Exception):  # whoever began it hears of that
                await self._model.load(on_progress=self._progress(number))

    def _progress(self, number: int) -> OnProgress:
        return functools.partial(self._say, "progress", number)

    def _tell_used(self) -> None:
        """Say what was imported, once: a spare that is started now takes no time from the load."""
        if self._tells:
            self._tells = False
            self._say("used", 0, tuple(sys.modules))

    def _facts(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        for name in names:
            with contextlib.suppress(Exception):  # the other side has a model that can say it
                fact = getattr(self._model, name)
                pickle.dumps(fact)
                yield name, fact

    async def _call(self, number: int, name: str, args: Any, kwargs: Any) -> Any:
        answer = self._asked(number, name, args, kwargs)
        if not inspect.isawaitable(answer):
            return None  # it was told something, and the other side has answered itself
        answer = await answer
        self._loop.call_soon(self._tell_used)
        return answer

    async def _stream(self, number: int, name: str, args: Any, kwargs: Any) -> None:
        pieces = self._pieces[number] = Pieces(
            functools.partial(self._say, "pieces", number),
            functools.partial(self._loop.call_soon_threadsafe, self._cancel, number),
        )
        await pieces.send(await source_of(self._asked(number, name, args, kwargs)))
        self._loop.call_soon(self._tell_used)

    async def _close(self, number: int) -> NoReturn:
        with contextlib.suppress(Exception):
            await self._model.unload()
        logging.shutdown()
        os._exit(0)

    def _follow(self, kind: str, number: int, what: Any) -> None:
        """Take what belongs to a request that has begun, unless it has ended since."""
        pieces = self._pieces.get(number)
        if kind == "cancel":
            self._cancel(number)
        elif kind == "feed":
            if number in self._feeds:
                self._feeds[number].put_nowait(what[0])
        elif pieces is not None and kind == "gather":
            pieces.gather()
        elif pieces is not None:
            pieces.allow(WINDOW // 2)

    def _finish(self, number: int) -> None:
        """Send what is left of a stream, before its end is told."""
        pieces = self._pieces.get(number)
        if pieces is not None:
            pieces.flush()
            if pieces.error is not None:
                raise pieces.error

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    def _asked(self, number: int, name: str, args: Any, kwargs: Any) -> Any:
        """Call a method of the model, with live sound in its place."""
        lively = functools.partial(self._lively, number)
        given = {key: lively(value) for key, value in kwargs.items()}
        return getattr(self._model, name)(*map(lively, args), **given)

    def _lively(self, number: int, value: Any) -> Any:
        """Give an argument, where sound that is still being made has its place taken again."""
        if not isinstance(value, Live):
            return value
        from blazen.types.live import LiveAudio

        self._feeds[number] = asyncio.Queue()
        return value.with_sound(LiveAudio(self._fed(number), sample_rate=value.sample_rate))

    async def _fed(self, number: int) -> AsyncGenerator[Any, None]:
        queue = self._feeds[number]
        while (piece := await queue.get()) is not None:
            if isinstance(piece, Carried):
                raise arrived(piece)
            self._say("fed", number, None)
            yield piece

    def _log_to_parent(self, levels: dict[str, int]) -> None:
        root = logging.getLogger()
        root.handlers[:] = [_Handler(self._log)]
        for name, level in levels.items():
            logging.getLogger(name or None).setLevel(level)
        logging.captureWarnings(True)


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # one that was made while another was imported
            importlib.import_module(name)


class _Handler(logging.Handler):
    """Sends each record to the other side."""

    def handle(self, record: logging.LogRecord) -> Any:
        """Do it without the lock of a handler: who sends may log, and would wait for it."""
        found = self.filter(record)
        if found:
            self.emit(record)
        return found

    def __init__(self, log: Callable[[str, int, str], None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log(record.name, record.levelno, self.format(record))
        except Exception:  # noqa: BLE001 - as logging has it
            self.handleError(record)


def _class_at(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
