"""What a worker process prints and logs, brought into this one's logging."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
import traceback
from collections import deque
from collections.abc import Callable

_TAIL = 4096
_LINE = 2000
_MOST_A_SECOND = 200
_READ = 64 * 1024

log = logging.getLogger("blazen.isolation.output")


class Output:
    """Keeps the last of what was printed; every line goes to the log, a flood of them in part."""

    def __init__(self, title: Callable[[], str]) -> None:
        self._title = title
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self._rest = b""
        self._second = 0
        self._lines = 0

    @property
    def tail(self) -> str:
        """The last lines that were printed."""
        text = b"".join(self._tail)[-_TAIL:].decode("utf-8", "replace")
        return text.strip()

    def read(self, fd: int) -> bool:
        """Take what is there; ``False`` says that no more comes."""
        try:
            data = os.read(fd, _READ)
        except OSError:
            return False
        self._take(data)
        return bool(data)

    def drain(self, fd: int, seconds: float) -> None:
        """Take all that is left, for a short time: a grandchild may hold the other end open."""
        end = time.monotonic() + seconds
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        while (left := end - time.monotonic()) > 0:
            if not ready.poll(left * 1000) or not self.read(fd):
                return

    def log(self, name: str, level: int, text: str) -> None:
        """Hand on a record of the worker's logging."""
        logger = logging.getLogger(name)
        if logger.isEnabledFor(level):
            hand_on(logger, level, "%s: %s", self._title(), text)

    def _take(self, data: bytes) -> None:
        self._tail.append(data[-_TAIL:])
        self._kept += len(self._tail[-1])
        while len(self._tail) > 1 and self._kept - len(self._tail[0]) >= _TAIL:
            self._kept -= len(self._tail.popleft())
        if not log.isEnabledFor(logging.DEBUG):
            self._rest = b""
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_LINE:]
        for line in lines:
            self._print(line)

    def _print(self, line: bytes) -> None:
        second = int(time.monotonic())
        if second != self._second:
            if self._lines > _MOST_A_SECOND:
                left_out = self._lines - _MOST_A_SECOND
                hand_on(log, logging.DEBUG, "%s: %d lines left out", self._title(), left_out)
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= _MOST_A_SECOND:
            text = line[:_LINE].decode("utf-8", "replace").rstrip()
            hand_on(log, logging.DEBUG, "%s: %s", self._title(), text)


def hand_on(
    logger: logging.Logger,
    level: int,
    message: str,
    title: str,
    *what: object,
    error: BaseException | None = None,
) -> None:
    """Log what concerns a model; an app's own handler may fail, and ends nothing by that."""
    try:
        logger.log(level, message, title, *what, extra={"model": title}, exc_info=error)
    except Exception:  # noqa: BLE001 - as logging itself has it, which shows it if it is asked to
        if logging.raiseExceptions:
            with contextlib.suppress(Exception):  # there may be nothing left to print to
                traceback.print_exc()
